"""A gRPC server without generated code: `Unary` answers what it gets, `Chat` answers each message as it comes. Prints its port. With the
files of a certificate and its key it speaks TLS."""

import sys
from concurrent import futures

import grpc


def unary(request, context):
    metadata = dict(context.invocation_metadata())
    context.set_trailing_metadata((("x-trail", metadata.get("x-word", "")),))
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")
    return b"hello " + request


def chat(requests, context):
    for request in requests:
        yield b"re: " + request
    context.set_trailing_metadata((("x-trail", "chat"),))


handlers = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
}
server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Greeter", handlers),))
address = f"127.0.0.1:{sys.argv[1]}"
if len(sys.argv) > 3:
    cert, key = (open(path, "rb").read() for path in sys.argv[2:4])
    port = server.add_secure_port(address, grpc.ssl_server_credentials([(key, cert)]))
else:
    port = server.add_insecure_port(address)
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(0).wait()
