"""A gRPC server without generated code: `Unary` answers what it gets, `Chat` answers each message as it comes. Prints its port."""

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
port = server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(0).wait()
