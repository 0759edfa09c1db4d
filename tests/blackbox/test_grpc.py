"""gRPC through a data plane, with the official library on both sides."""
import json
import os
import subprocess
import threading
from concurrent import futures

import grpc
import pytest
import weir

MEGABYTE = 1 << 20
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
           ("grpc.use_local_subchannel_pool", 1)]


class Service(grpc.GenericRpcHandler):
    """Methods of /test.Echo on plain bytes."""

    def __init__(self):
        self.cancelled = threading.Event()
        self.waiting = threading.Event()
        self.seen = []

    def service(self, details):
        self.seen.append(details)
        name = details.method.rpartition("/")[2]
        return {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
        }.get(name)

    def unary(self, message, context):
        metadata = [(k, v) for k, v in context.invocation_metadata() if k.startswith("x-test")]
        context.send_initial_metadata([("x-initial", "yes")])
        context.set_trailing_metadata([("x-trailing", "yes"), ("x-binary-bin", b"\x00\xff"), *metadata])
        return message

    def fail(self, message, context):
        context.set_trailing_metadata([("x-why", "because")])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nö 100% " + message.decode())

    def wait(self, message, context):
        context.add_callback(self.cancelled.set)
        self.waiting.set()
        self.cancelled.wait(weir.PATIENCE)
        return b""

    def count(self, message, context):
        for i in range(int(message)):
            yield str(i).encode()

    def collect(self, messages, context):
        return b",".join(messages)

    def chat(self, messages, context):
        for message in messages:
            yield message.upper()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("grpc"))
    cert, key = f"{folder}/gateway.crt", f"{folder}/gateway.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=gateway.test", "-addext", "subjectAltName=DNS:gateway.test",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)

    def read(name):
        with open(name, "rb") as f:
            return f.read()

    service = Service()
    server = grpc.server(futures.ThreadPoolExecutor(128), handlers=[service], options=OPTIONS)
    plain = server.add_insecure_port("127.0.0.1:0")
    secure = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(read(key), read(cert))]))
    server.start()
    upstream = weir.Upstream()
    file = os.path.join(folder, "weir.yaml")
    with open(file, "w") as f:
        f.write(f"""
_format_version: "3.0"
services:
- name: grpc
  url: grpc://127.0.0.1:{plain}
  routes:
  - {{name: grpc, protocols: [grpc, grpcs], paths: ["/test.Echo/"]}}
  - name: closed
    protocols: [grpc, grpcs]
    paths: ["/test.Closed/"]
    plugins:
    - {{name: key-auth, config: {{key_names: [x-key]}}}}
  - name: terminated
    protocols: [grpc, grpcs]
    paths: ["/test.Terminated/"]
    plugins:
    - {{name: request-termination, config: {{status_code: 403, message: "so long"}}}}
  - {{name: only-grpcs, protocols: [grpcs], paths: ["/test.Secret/"]}}
- name: grpcs
  url: grpcs://127.0.0.1:{secure}
  routes:
  - {{name: grpcs, protocols: [grpc, grpcs], hosts: [secure.test]}}
- name: dead
  url: grpc://127.0.0.1:1
  retries: 1
  routes:
  - {{name: dead, protocols: [grpc, grpcs], paths: ["/test.Dead/"]}}
- name: slow
  url: grpc://127.0.0.1:{plain}
  read_timeout: 200
  retries: 0
  routes:
  - {{name: slow, protocols: [grpc, grpcs], hosts: [slow.test]}}
- name: http
  url: {upstream.url}
  routes:
  - {{name: http, paths: ["/http"]}}
""")
    dp = weir.DataPlane(folder, "--ssl-cert", cert, "--ssl-cert-key", key, declarative=file)
    dp.start()
    dp.service, dp.ca, dp.upstream = service, read(cert), upstream
    yield dp
    dp.stop()
    server.stop(0)
    upstream.stop()


def channel_to(gateway, tls=False, authority=None):
    options = [*OPTIONS, *([("grpc.default_authority", authority)] if authority else [])]
    if not tls:
        return grpc.insecure_channel(f"127.0.0.1:{gateway.port}", options)
    options.append(("grpc.ssl_target_name_override", "gateway.test"))
    return grpc.secure_channel(f"127.0.0.1:{gateway.tls_port}", grpc.ssl_channel_credentials(gateway.ca), options)


WAYS = {"h2c to h2c": (False, None), "TLS to h2c": (True, None), "h2c to TLS": (False, "secure.test"),
        "TLS to TLS": (True, "secure.test")}


@pytest.fixture(params=WAYS)
def channel(gateway, request):
    with channel_to(gateway, *WAYS[request.param]) as c:
        yield c


@pytest.fixture
def simple(gateway):
    with channel_to(gateway) as c:
        yield c


def unary(channel, name="Unary", service="test.Echo"):
    return channel.unary_unary(f"/{service}/{name}")


def test_unary_with_metadata_and_trailers(channel):
    answer, call = unary(channel).with_call(b"hello", metadata=[("x-test-a", "1"), ("x-test-b-bin", b"\x01\x02")],
                                            timeout=weir.PATIENCE)
    assert answer == b"hello"
    assert ("x-initial", "yes") in call.initial_metadata()
    trailing = dict(call.trailing_metadata())
    assert trailing["x-trailing"] == "yes"
    assert trailing["x-binary-bin"] == b"\x00\xff"
    assert trailing["x-test-a"] == "1"
    assert trailing["x-test-b-bin"] == b"\x01\x02"
    assert call.code() == grpc.StatusCode.OK


def test_errors_of_the_server_pass(channel):
    with pytest.raises(grpc.RpcError) as error:
        unary(channel, "Fail")(b"x", timeout=weir.PATIENCE)
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert error.value.details() == "nö 100% x"
    assert ("x-why", "because") in error.value.trailing_metadata()


def test_unknown_method(channel):
    with pytest.raises(grpc.RpcError) as error:
        unary(channel, "Nothing")(b"", timeout=weir.PATIENCE)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_server_streaming(channel):
    got = list(channel.unary_stream("/test.Echo/Count")(b"1000", timeout=weir.PATIENCE))
    assert got == [str(i).encode() for i in range(1000)]


def test_client_streaming(channel):
    messages = [str(i).encode() for i in range(1000)]
    assert channel.stream_unary("/test.Echo/Collect")(iter(messages), timeout=weir.PATIENCE) == b",".join(messages)


def test_both_streaming_without_holding_back(channel):
    """Each message is answered before the next one is sent: nothing is buffered on the way."""
    answers = threading.Semaphore(0)

    def messages():
        for i in range(200):
            yield b"m%d" % i
            assert answers.acquire(timeout=weir.PATIENCE)

    got = []
    for answer in channel.stream_stream("/test.Echo/Chat")(messages(), timeout=2 * weir.PATIENCE):
        got.append(answer)
        answers.release()
    assert got == [b"M%d" % i for i in range(200)]


@pytest.mark.parametrize("size", [0, 1, MEGABYTE, 16 * MEGABYTE])
def test_message_sizes(channel, size):
    message = os.urandom(size)
    assert unary(channel)(message, timeout=4 * weir.PATIENCE) == message


def test_many_streams_at_once(channel):
    calls = [unary(channel).future(b"%d" % i * 100, timeout=4 * weir.PATIENCE) for i in range(500)]
    assert [c.result() for c in calls] == [b"%d" % i * 100 for i in range(500)]


def test_many_long_streams_at_once(simple):
    streams = [simple.unary_stream("/test.Echo/Count")(b"200", timeout=4 * weir.PATIENCE) for _ in range(50)]
    for s in streams:
        assert len(list(s)) == 200


def test_deadline(gateway, simple):
    gateway.service.cancelled.clear()
    with pytest.raises(grpc.RpcError) as error:
        unary(simple, "Wait")(b"", timeout=0.2)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert gateway.service.cancelled.wait(weir.PATIENCE)


def test_cancellation_reaches_the_server(gateway, simple):
    gateway.service.cancelled.clear()
    gateway.service.waiting.clear()
    call = unary(simple, "Wait").future(b"", timeout=weir.PATIENCE)
    assert gateway.service.waiting.wait(weir.PATIENCE)
    call.cancel()
    assert gateway.service.cancelled.wait(weir.PATIENCE)
    assert unary(simple)(b"on", timeout=weir.PATIENCE) == b"on"


def refused(channel, service, metadata=()):
    with pytest.raises(grpc.RpcError) as error:
        unary(channel, service=service)(b"", metadata=metadata, timeout=weir.PATIENCE)
    return error.value.code(), error.value.details()


def test_errors_of_the_gateway_are_statuses(gateway, simple):
    """The reference's map from HTTP (proxying rules, section 3)."""
    assert refused(simple, "test.Unknown") == (grpc.StatusCode.NOT_FOUND, "no Route matched with those values")
    assert refused(simple, "test.Closed") == (grpc.StatusCode.UNAUTHENTICATED, "No API key found in request")
    assert refused(simple, "test.Terminated") == (grpc.StatusCode.PERMISSION_DENIED, "so long")
    assert refused(simple, "test.Dead") == (grpc.StatusCode.INTERNAL,
                                            "An invalid response was received from the upstream server")
    assert refused(simple, "test.Secret") == (grpc.StatusCode.CANCELLED, "gRPC request matched gRPCs route")
    gateway.service.cancelled.clear()
    with channel_to(gateway, authority="slow.test") as slow, pytest.raises(grpc.RpcError) as error:
        unary(slow, "Wait")(b"", timeout=weir.PATIENCE)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert error.value.details() == "The upstream server is timing out"


def test_grpc_routes_are_for_grpc(gateway):
    answer = gateway.post("/test.Echo/Unary", b"x", headers={"Content-Type": "application/json"})
    assert (answer.status, answer.json["message"]) == (415, "Non-gRPC request matched gRPC route")
    answer = gateway.post("/test.Echo/Unary", b"x", headers={"Content-Type": "application/grpc"})
    assert (answer.status, answer.header("Upgrade")) == (426, "HTTP/2")


def test_http_routes_and_grpc_routes_share_a_listener(gateway, simple):
    assert unary(simple)(b"a", timeout=weir.PATIENCE) == b"a"
    assert json.loads(gateway.get("/http").body)["path"] == "/"


def test_what_the_server_is_told(gateway, simple):
    gateway.service.seen.clear()
    unary(simple)(b"", timeout=weir.PATIENCE)
    metadata = dict(gateway.service.seen[-1].invocation_metadata)
    assert metadata["via"].startswith("2 weir/")
    assert metadata["x-forwarded-path"] == "/test.Echo/Unary"
    assert metadata["x-forwarded-for"] == "127.0.0.1"
    assert metadata["x-forwarded-proto"] == "http"
