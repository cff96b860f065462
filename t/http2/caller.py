"""A gRPC client without generated code, of the server beside it. Prints what it saw as JSON. After the word `tls` come the file of an
authority and the name to ask for."""

import json
import sys

import grpc

WAIT = 20


def call(channel, request):
    try:
        answer, seen = channel.unary_unary("/t.Greeter/Unary").with_call(request, timeout=WAIT, metadata=(("x-word", "w1"),))
        return {"answer": answer.decode(), "code": seen.code().name, "trailers": dict(seen.trailing_metadata())}
    except grpc.RpcError as error:
        return {"code": error.code().name, "details": error.details()}


def chat(channel):
    """Sends each message only after the one before was answered."""
    answered = []
    go = __import__("queue").Queue()

    def messages():
        for n in range(5):
            yield f"m{n}".encode()
            go.get(timeout=WAIT)

    seen = channel.stream_stream("/t.Greeter/Chat")(messages(), timeout=WAIT)
    for answer in seen:
        answered.append(answer.decode())
        go.put(None)
    return {"answers": answered, "code": seen.code().name, "trailers": dict(seen.trailing_metadata())}


def connect():
    if "tls" not in sys.argv:
        return grpc.insecure_channel(sys.argv[1])
    ca, name = sys.argv[sys.argv.index("tls") + 1 :][:2]
    credentials = grpc.ssl_channel_credentials(open(ca, "rb").read())
    return grpc.secure_channel(sys.argv[1], credentials, options=[("grpc.ssl_target_name_override", name)])


with connect() as channel:
    saw = {"unary": call(channel, b"world"), "fail": call(channel, b"fail")}
    if "chat" in sys.argv:
        saw["chat"] = chat(channel)
        with_many = [channel.unary_unary("/t.Greeter/Unary").future(b"%d" % n, timeout=WAIT) for n in range(200)]
        saw["many"] = sum(one.result() == b"hello %d" % n for n, one in enumerate(with_many))
print(json.dumps(saw))
