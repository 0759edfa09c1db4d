"""HTTP/2 towards clients: ordinary clients, and frames by hand. Cases name their section of RFC 9113."""
import base64
import contextlib
import hashlib
import os
import random
import re
import socket
import ssl
import struct
import subprocess
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import hpack
import pytest
import raw
import weir

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, ACK = 1, 4, 8, 1
FILE = """
_format_version: "3.0"
services:
- name: origin
  url: {url}
  read_timeout: 60000
  routes:
  - {{name: all, paths: ["/"], preserve_host: true}}
  - {{name: unbuffered, paths: ["/stream"], request_buffering: false, response_buffering: false, strip_path: false}}
- name: once
  url: {url}
  retries: 0
  routes:
  - {{name: once, paths: ["/once"], strip_path: false}}
"""


def start(folder, origin, *flags):
    path = os.path.join(str(folder), "weir.yaml")
    with open(path, "w") as f:
        f.write(FILE.format(url=origin.url))
    return weir.DataPlane(str(folder), *flags, declarative=path, workers=1).start()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    origin = raw.Origin()
    dp = start(tmp_path_factory.mktemp("h2"), origin, "--client-header-timeout", "2s", "--client-write-timeout", "3s",
               "--http2-max-resets", "100", "--http2-max-control-frames", "300", "--http2-max-concurrent-streams", "100",
               "--client-max-body-bytes", "16m")
    dp.origin = origin
    yield dp
    dp.stop()
    origin.close()


@pytest.fixture(autouse=True)
def fresh(proxy):
    proxy.origin.hang_up()
    proxy.origin.heads.clear()
    proxy.origin.script = proxy.origin.answer_ok
    proxy.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    yield
    weir.wait_until(lambda: metric(proxy, "weir_exchanges") == 0, "every exchange to end")
    weir.wait_until(lambda: metric(proxy, "weir_http2_streams") == 0, "every stream to end")


def metric(dp, name):
    found = re.search(rf"^{re.escape(name)} (\d+)", dp.metrics(), re.M)
    return int(found.group(1)) if found else 0


def limit_hits(dp, limit):
    return metric(dp, f'weir_limit_hits_total{{limit="{limit}"}}')


def fields(path="/a", method="GET", **more):
    head = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a.test")]
    return head + [(k.replace("_", "-"), v) for k, v in more.items()]


class Client:
    """A connection of the h2 library; events are kept by stream."""

    def __init__(self, port, tls=False, window=None, **settings):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=weir.PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl._create_unverified_context()
            context.set_alpn_protocols(["h2"])
            self.sock = context.wrap_socket(self.sock)
            assert self.sock.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8", validate_outbound_headers=False,
            normalize_outbound_headers=False))
        if settings or window is not None:
            codes = {getattr(h2.settings.SettingCodes, k): v for k, v in settings.items()}
            if window is not None:
                codes[h2.settings.SettingCodes.INITIAL_WINDOW_SIZE] = window
            self.h2.local_settings = h2.settings.Settings(client=True, initial_values={
                **{k: v for k, v in self.h2.local_settings.items()}, **codes})
        self.h2.initiate_connection()
        self.streams, self.goaways, self.closed, self.consume, self.unread = {}, [], False, True, b""
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def step(self):
        """Reads once. False at the end."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return False
        self.unread += data
        events = []
        while len(self.unread) >= 9 and len(self.unread) >= (n := 9 + int.from_bytes(self.unread[:3], "big")):
            events += self.h2.receive_data(self.unread[:n])  # one by one: a GOAWAY is not the end here
            if self.unread[3] == GOAWAY:
                self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
            self.unread = self.unread[n:]
        for event in events:
            if isinstance(event, h2.events.ConnectionTerminated):
                self.goaways.append((event.error_code, event.last_stream_id))
            stream = getattr(event, "stream_id", None)
            if not stream:
                continue
            self.streams.setdefault(stream, []).append(event)
            if isinstance(event, h2.events.DataReceived) and self.consume and event.flow_controlled_length:
                with contextlib.suppress(h2.exceptions.StreamClosedError):
                    self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
        with contextlib.suppress(OSError):
            self.flush()
        return True

    def until(self, condition):
        while not condition():
            if not self.step():
                raise AssertionError(f"the connection ended: {self.streams} {self.goaways}")

    def to_end(self):
        with contextlib.suppress(h2.exceptions.ProtocolError):
            while self.step():
                pass

    def send(self, head, body=None, end=True):
        """A new request; its stream."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, head, end_stream=end and body is None)
        if body is not None:
            self.push(stream, body, end)
        self.flush()
        return stream

    def push(self, stream, body, end=True):
        while body:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(body))
            if room == 0:
                self.flush()
                assert self.step()
                if self.ended(stream):
                    return
                continue
            self.h2.send_data(stream, body[:room], end_stream=end and room == len(body))
            body = body[room:]
        self.flush()

    def has(self, stream, kind):
        return [e for e in self.streams.get(stream, []) if isinstance(e, kind)]

    def ended(self, stream):
        return self.has(stream, (h2.events.StreamEnded, h2.events.StreamReset))

    def answer(self, stream):
        """(status, headers, body); (None, error code, body so far) of a stream that was reset."""
        self.until(lambda: self.ended(stream))
        body = b"".join(e.data for e in self.has(stream, h2.events.DataReceived))
        ends = self.has(stream, h2.events.StreamEnded)
        if not ends:
            return None, self.has(stream, h2.events.StreamReset)[0].error_code, body
        head = dict(self.has(stream, h2.events.ResponseReceived)[0].headers)
        return int(head[":status"]), head, body

    def ask(self, head, body=None):
        return self.answer(self.send(head, body))


class Frames:
    """A connection of frames by hand."""

    def __init__(self, port, settings=b""):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=weir.PATIENCE)
        self.encoder = hpack.Encoder()
        self.sock.sendall(PREFACE)
        self.send(SETTINGS, 0, 0, settings)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    @staticmethod
    def frame(kind, flags, stream, payload=b""):
        return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload

    def send(self, kind, flags, stream, payload=b"", times=1):
        """False once the other side has closed."""
        try:
            self.sock.sendall(self.frame(kind, flags, stream, payload) * times)
            return True
        except OSError:
            return False

    def block(self, head):
        return self.encoder.encode(head)

    def receive(self):
        """(kind, flags, stream, payload), or None at the end."""
        def exactly(n):
            data = b""
            while len(data) < n:
                part = self.sock.recv(n - len(data))
                if not part:
                    raise ConnectionResetError
                data += part
            return data
        try:
            head = exactly(9)
            return (head[3], head[4], struct.unpack(">I", head[5:])[0],
                    exactly(int.from_bytes(head[:3], "big")))
        except ConnectionResetError:
            return None

    def until(self, kind, stream=None):
        while frame := self.receive():
            if frame[0] == kind and stream in (None, frame[2]):
                return frame
        return None

    def error(self):
        """The code of the GOAWAY that ends this connection; None: it ended without one."""
        code = None
        while frame := self.receive():
            if frame[0] == GOAWAY:
                code = struct.unpack(">I", frame[3][4:8])[0]
        return code


def reset_code(frame):
    return struct.unpack(">I", frame[3])[0]


# ---- ordinary clients ----


@pytest.mark.parametrize("tls", [False, True], ids=["prior-knowledge", "alpn"])
def test_curl(proxy, tls):
    url = f"https://127.0.0.1:{proxy.tls_port}/a" if tls else f"http://127.0.0.1:{proxy.port}/a"
    how = "--http2" if tls else "--http2-prior-knowledge"
    out = subprocess.run(["curl", "-sk", how, "-w", " %{http_version} %{http_code}", url], capture_output=True,
                         text=True, check=True).stdout
    assert out == "ok 2 200"


def test_a_client_of_http1_is_still_one(proxy):
    out = subprocess.run(["curl", "-sk", "--http1.1", "-w", " %{http_version}", f"https://127.0.0.1:{proxy.tls_port}/"],
                         capture_output=True, text=True, check=True).stdout
    assert out == "ok 1.1"


def test_http2_is_not_offered_where_the_listener_does_not(tmp_path, proxy):
    port, status = weir.free_ports(2)
    path = os.path.join(str(tmp_path), "weir.yaml")
    with open(path, "w") as f:
        f.write(FILE.format(url=proxy.origin.url))
    dp = weir.Program("weir-dp", tmp_path, ["weir-dp", "--data-dir", tmp_path, "--declarative", path, "--proxy-listen",
                                            f"127.0.0.1:{port} ssl", "--status-listen", f"127.0.0.1:{status}"]).start()
    out = subprocess.run(["curl", "-sk", "--http2", "-w", " %{http_version}", f"https://127.0.0.1:{port}/"],
                         capture_output=True, text=True, check=True).stdout
    assert out == "ok 1.1"
    dp.stop()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_h2load(proxy, tls):
    url = f"https://127.0.0.1:{proxy.tls_port}/a" if tls else f"http://127.0.0.1:{proxy.port}/a"
    out = subprocess.run(["h2load", "-n", "2000", "-c", "4", "-m", "20", url], capture_output=True, text=True,
                         check=True, timeout=weir.PATIENCE * 2).stdout
    assert "2000 succeeded, 0 failed, 0 errored" in out, out


# ---- heads ----


def test_what_the_origin_gets(proxy):
    head = fields("/p/x?q=1", cookie="a=1") + [("cookie", "b=2"), ("x-own", "v"), ("cookie", "c=3"), ("te", "trailers")]
    with Client(proxy.tls_port, tls=True) as c:
        assert c.ask(head)[0] == 200
    seen = proxy.origin.heads[0].decode()
    assert seen.startswith("GET /p/x?q=1 HTTP/1.1\r\nHost: a.test\r\n")
    for line in ("cookie: a=1; b=2; c=3", "x-own: v", "Via: 2 weir/", "X-Forwarded-Proto: https", "TE: trailers"):
        assert f"\r\n{line}" in seen, (line, seen)
    assert seen.lower().count("\r\ncookie:") == 1 and seen.lower().count("\r\nhost:") == 1 and "\r\n:" not in seen


def test_what_the_client_gets(proxy):
    proxy.origin.answer = (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Own: V\r\nConnection: keep-alive, x-hop\r\n"
                           b"X-Hop: 1\r\nKeep-Alive: timeout=1\r\n\r\nok")
    with Client(proxy.port) as c:
        status, head, body = c.ask(fields())
    assert (status, body, head["x-own"], head["content-length"]) == (200, b"ok", "V", "2")
    assert "x-kong-request-id" in head and head["via"].startswith("1.1 weir/")
    assert not {"connection", "keep-alive", "x-hop", "transfer-encoding"} & set(head)
    assert all(name == name.lower() for name in head)


def malformed(name, *head):
    return pytest.param(list(head), id=name)


M, S, P, A = (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")


@pytest.mark.parametrize("head", [
    malformed("8.2 capitals in a name", M, S, P, A, ("X-Own", "v")),
    malformed("8.2.1 space in a name", M, S, P, A, ("x own", "v")),
    malformed("8.2.1 empty name", M, S, P, A, ("", "v")),
    malformed("8.2.1 line break in a value", M, S, P, A, ("x-own", "v\r\nx: y")),
    malformed("8.2.1 NUL in a value", M, S, P, A, ("x-own", "v\0")),
    malformed("8.2.1 space around a value", M, S, P, A, ("x-own", " v")),
    malformed("8.2.2 connection", M, S, P, A, ("connection", "close")),
    malformed("8.2.2 keep-alive", M, S, P, A, ("keep-alive", "timeout=1")),
    malformed("8.2.2 transfer-encoding", M, S, P, A, ("transfer-encoding", "chunked")),
    malformed("8.2.2 upgrade", M, S, P, A, ("upgrade", "websocket")),
    malformed("8.2.2 proxy-connection", M, S, P, A, ("proxy-connection", "close")),
    malformed("8.2.2 te", M, S, P, A, ("te", "gzip")),
    malformed("8.3 pseudo behind others", M, S, P, ("x-own", "v"), A),
    malformed("8.3 unknown pseudo", M, S, P, A, (":own", "v")),
    malformed("8.3 of a response", M, S, P, A, (":status", "200")),
    malformed("8.3 twice", M, S, P, P, A),
    malformed("8.3.1 no method", S, P, A),
    malformed("8.3.1 no scheme", M, P, A),
    malformed("8.3.1 no path", M, S, A),
    malformed("8.3.1 empty path", M, S, (":path", ""), A),
    malformed("8.3.1 path without slash", M, S, (":path", "x"), A),
    malformed("8.3.1 no authority", M, S, P),
    malformed("8.1.1 two lengths", M, S, P, A, ("content-length", "1"), ("content-length", "2")),
    malformed("8.1.1 length of a request without body", M, S, P, A, ("content-length", "1")),
    malformed("8441-4 protocol without CONNECT", M, S, P, A, (":protocol", "websocket")),
])
def test_malformed_requests_are_reset(proxy, head):
    with Frames(proxy.port) as f:
        f.send(HEADERS, END_STREAM | END_HEADERS, 1, f.block(head))
        assert reset_code(f.until(RST)) == h2.errors.ErrorCodes.PROTOCOL_ERROR
        f.send(HEADERS, END_STREAM | END_HEADERS, 3, f.block([M, S, P, A]))
        assert f.until(HEADERS, 3)  # the connection goes on
    assert len(proxy.origin.heads) == 1


@pytest.mark.parametrize("head,status", [
    (fields() + [("host", "b.test")], 400), (fields() + [("host", "a.test")], 200),
    ([M, S, P, ("host", "a.test")], 200), ([M, S, P, (":authority", "a b")], None), ([M, S, P, (":authority", "a:99999")], 400),
    (fields("/../x"), 400), (fields("/a%zz"), 400), (fields("/a%00"), 400), (fields("/a#b"), (None, 400)),
    (fields(method="get"), 400), (fields(method="TRACE"), 405), (fields("*", method="OPTIONS"), 400),
    ([(":method", "CONNECT"), (":authority", "a:80")], 405),
    (fields(method="CONNECT") + [(":protocol", "other")], 501),
    ([M, (":scheme", "ftp"), (":path", "http://b.test/x"), A], (None, 400)),
    ([M, (":scheme", "ftp"), (":path", "x"), A], (None, 400)), ([M, (":scheme", "ftp"), (":path", "*"), A], (None, 400)),
    ([M, (":scheme", "ht tp"), P, A], (None, 400)), ([M, S, P, (":authority", "u@a.test")], (None, 400)),
    ([M, S, (":path", "/a b"), A], (None, 400)), ([M, S, (":path", "/a\x7f"), A], (None, 400)),
    ([(":method", "GE T"), S, P, A], (None, 400)), ([M, S, P, ("host", "a"), ("host", "b")], (None, 400)),
    ([M, S, P, (":authority", "")], (None, 400)), ([M, S, P, (":authority", ""), ("host", "a")], (None, 400)),
    (fields(expect="200-ok"), 417), (fields("/" + "x" * 9000), 414),
    (fields() + [("x-%d" % i, "v") for i in range(101)], 400), (fields() + [("x-%d" % i, "v" * 4000) for i in range(9)], 400),
    (fields() + [("cookie", "v" * 10) for i in range(1000)], 200), (fields() + [("cookie", "v" * 10) for i in range(3000)], 400),
])
def test_heads_are_judged_as_those_of_http1(proxy, head, status):
    with Client(proxy.port) as c:
        found = c.ask(head)[0]
        assert found == status or (isinstance(status, tuple) and found in status)
        assert c.ask(fields())[0] == 200


def test_limits_of_the_head_are_counted(proxy):
    limits = ("client_max_uri_bytes", "client_max_header_bytes", "client_max_header_fields")
    before = [limit_hits(proxy, limit) for limit in limits]
    with Client(proxy.port) as c:
        c.ask(fields("/" + "x" * 9000))
        c.ask(fields() + [("x-%d" % i, "v") for i in range(101)])
        c.ask(fields() + [("x", "v" * 15000), ("y", "v" * 15000), ("z", "v" * 15000)])
    assert [limit_hits(proxy, limit) for limit in limits] == [n + 1 for n in before]


def test_a_small_block_of_many_fields_is_not_unpacked_into_memory(proxy):
    """10.5.1: the same long field, named by its index."""
    with Frames(proxy.port) as f:
        block = f.block([M, S, P, A, ("x-own", "v" * 3900)])
        f.send(HEADERS, END_STREAM | END_HEADERS, 1, block + b"\xbe" * 12000)
        head = hpack.Decoder().decode(f.until(HEADERS, 1)[3])
        assert (":status", "400") in head, head


def test_a_head_in_pieces(proxy):
    with Frames(proxy.port) as f:
        block = f.block([M, S, P, A, ("x-own", "v" * 100)])
        f.send(HEADERS, END_STREAM, 1, block[:3])
        for at in range(3, 63, 10):
            f.send(CONTINUATION, 0, 1, block[at:at + 10])
        f.send(CONTINUATION, END_HEADERS, 1, block[63:])
        assert f.until(HEADERS, 1)
    assert b"x-own: vvvv" in proxy.origin.heads[0]


# ---- bodies ----


def origin_that_swaps(size, answer_size):
    def script(s):
        head, rest = raw.read_head(s)
        chunked = b"chunked" in head.lower()
        while len(rest) < size or (chunked and not rest.endswith(b"0\r\n\r\n")):
            part = s.recv(1 << 20)
            assert part
            rest += part
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % answer_size + b"x" * answer_size)
    return script


@pytest.mark.parametrize("path", ["/a", "/stream/a"])
@pytest.mark.parametrize("body", [b"", b"x", b"x" * 5000], ids=["empty", "short", "longer"])
def test_bodies_that_come_along_with_the_head(proxy, path, body):
    bodies = []

    def script(s):
        head, rest = raw.read_head(s)
        n = re.search(rb"content-length: (\d+)", head, re.I)
        while not (len(rest) >= int(n.group(1)) if n else rest.endswith(b"0\r\n\r\n")):
            rest += s.recv(65536)
        bodies.append(rest if n else b"".join(re.findall(rb"(?:\A|\r\n)[1-9a-f][0-9a-f]*\r\n(x*)", rest)))
        s.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

    proxy.origin.script = script
    for more in ({"content_length": str(len(body))}, {}):
        with Client(proxy.port) as c:
            stream = c.h2.get_next_available_stream_id()
            c.h2.send_headers(stream, fields(path, "POST", **more))
            c.h2.send_data(stream, body, end_stream=True)
            c.flush()
            assert c.answer(stream)[0] == 200
    assert bodies == [body, body]


@pytest.mark.parametrize("path", ["/a", "/stream/a"])
@pytest.mark.parametrize("length", [True, False], ids=["length", "no-length"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_large_bodies_go_both_ways(proxy, path, length, tls):
    size = 3 << 20
    proxy.origin.script = origin_that_swaps(size, size)
    with Client(proxy.tls_port if tls else proxy.port, tls=tls) as c:
        more = {"content_length": str(size)} if length else {}
        status, _, body = c.ask(fields(path, "POST", **more), b"y" * size)
        assert status == 200 and body == b"x" * size


def test_tiny_windows(proxy):
    """5.2: byte by byte where the client says so, and not a byte more."""
    proxy.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + bytes(range(100)) * 3
    with Client(proxy.port, window=1) as c:
        c.consume = False
        a, b = c.send(fields()), c.send(fields())
        got = {a: b"", b: b""}

        def length(stream):
            return sum(len(e.data) for e in c.has(stream, h2.events.DataReceived))
        for n in range(1, 300):
            c.until(lambda: length(a) == n and length(b) == n)
            for stream in (a, b):
                c.h2.increment_flow_control_window(1, stream)
            c.flush()
        for stream in (a, b):
            assert c.answer(stream)[2] == bytes(range(100)) * 3


def test_a_larger_initial_window_wakes_streams(proxy):
    """6.9.2."""
    proxy.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + b"x" * 300
    with Client(proxy.port, window=0) as c:
        stream = c.send(fields())
        c.until(lambda: c.has(stream, h2.events.ResponseReceived))
        c.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000})
        c.flush()
        assert c.answer(stream)[2] == b"x" * 300


def test_one_stream_does_not_starve_the_others(proxy):
    """The window of the connection is shared by turns."""
    def script(s):
        head, _ = raw.read_head(s)
        size = 1 << 40 if b" /big " in head else 20000
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while size:
            s.sendall(b"x" * min(size, 100000))
            size -= min(size, 100000)
        s.recv(1)

    proxy.origin.script = script
    with Client(proxy.port, window=1 << 20) as c:
        big = c.send(fields("/big"))
        c.until(lambda: c.has(big, h2.events.DataReceived))
        small = [c.send(fields("/small")) for _ in range(5)]
        for stream in small:
            assert len(c.answer(stream)[2]) == 20000
        assert not c.ended(big)


def test_streams_end_in_any_order(proxy):
    gates = {n: threading.Event() for n in range(40)}

    def script(s):
        while True:
            head, _ = raw.read_head(s)
            if not head:
                return
            n = int(re.match(rb"GET /n(\d+)", head).group(1))
            assert gates[n].wait(weir.PATIENCE)
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%d" % (len(str(n)), n))

    proxy.origin.script = script
    with Client(proxy.port) as c:
        streams = {n: c.send(fields(f"/n{n}")) for n in gates}
        order = list(gates)
        random.Random(7).shuffle(order)
        for n in order:
            gates[n].set()
            assert c.answer(streams[n])[2] == str(n).encode()


def test_head_and_no_content_have_no_body(proxy):
    proxy.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    with Client(proxy.port) as c:
        status, head, body = c.ask(fields(method="HEAD"))
        assert (status, head["content-length"], body) == (200, "1000", b"")
        proxy.origin.hang_up()
        proxy.origin.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        status, head, body = c.ask(fields())
        assert (status, body) == (204, b"") and "content-length" not in head


def test_answers_of_unknown_length(proxy):
    def script(s):
        raw.read_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            s.sendall(b"5\r\nhello\r\n")
        s.sendall(b"0\r\n\r\n")

    proxy.origin.script = script
    with Client(proxy.port) as c:
        status, head, body = c.ask(fields("/stream"))
        assert (status, body) == (200, b"hello" * 20) and "transfer-encoding" not in head


def test_trailers_pass_both_ways(proxy):
    """8.1."""
    seen = []

    def script(s):
        data = b""
        while not data.endswith(b"\r\n\r\n") or b"\r\n0\r\n" not in data:
            data += s.recv(65536)
        seen.append(data)
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")

    proxy.origin.script = script
    with Client(proxy.port) as c:
        stream = c.send(fields("/stream", "POST"), b"body", end=False)
        c.h2.send_headers(stream, [("x-end", "1"), ("authorization", "3")], end_stream=True)
        c.flush()
        assert c.answer(stream)[2] == b"hello"
        assert c.has(stream, h2.events.TrailersReceived)[0].headers == [("x-sum", "7")]
    assert b"x-end: 1\r\n" in seen[0] and b"authorization" not in seen[0]


def test_expect_100_continue(proxy):
    """8.1, RFC 9110 section 10.1.1."""
    with Client(proxy.port) as c:
        stream = c.send(fields("/a", "POST", expect="100-continue", content_length="5"), end=False)
        c.until(lambda: c.has(stream, h2.events.InformationalResponseReceived))
        assert (":status", "100") in c.has(stream, h2.events.InformationalResponseReceived)[0].headers
        c.push(stream, b"hello")
        assert c.answer(stream)[0] == 200


def test_interim_answers_pass(proxy):
    proxy.origin.answer = (b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
                           b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with Client(proxy.port) as c:
        stream = c.send(fields())
        assert c.answer(stream)[2] == b"ok"
        hints = dict(c.has(stream, h2.events.InformationalResponseReceived)[0].headers)
        assert hints[":status"] == "103" and hints["link"] == "</a.css>"


def test_an_answer_may_come_before_the_body(proxy):
    """8.1: complete, and then the client is told that the rest is not wanted."""
    with Client(proxy.port) as c:
        stream = c.send(fields("/a", "POST", content_length=str(17 << 20)), end=False)
        c.until(lambda: c.has(stream, h2.events.StreamReset))
        assert c.answer(stream)[0] == 413
        assert c.has(stream, h2.events.StreamReset)[0].error_code == h2.errors.ErrorCodes.NO_ERROR
        assert c.ask(fields())[0] == 200


def test_an_answer_cut_short_is_not_passed_off_as_whole(proxy):
    def script(s):
        raw.read_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

    proxy.origin.script = script
    with Client(proxy.port) as c:
        status, code, body = c.ask(fields("/once"))
        assert (status, code, body) == (None, h2.errors.ErrorCodes.INTERNAL_ERROR, b"only this")


@pytest.mark.parametrize("sent,announced", [(4, 5), (6, 5)])
def test_a_body_of_another_length_is_reset(proxy, sent, announced):
    """8.1.1."""
    with Client(proxy.port) as c:
        status, code, _ = c.ask(fields("/stream", "POST", content_length=str(announced)), b"x" * sent)
        assert (status, code) == (None, h2.errors.ErrorCodes.PROTOCOL_ERROR)


# ---- WebSocket ----


def accept_of(head):
    key = re.search(rb"\r\nsec-websocket-key: ([^\r]+)\r\n", head, re.I).group(1)
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


def websocket(path="/a"):
    return [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", path),
            (":authority", "a.test"), ("sec-websocket-version", "13")]


def test_websocket(proxy):
    """RFC 8441."""
    heads = []

    def script(s):
        head, _ = raw.read_head(s)
        heads.append(head)
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  b"Sec-WebSocket-Accept: " + accept_of(head) + b"\r\n\r\nhello")
        while part := s.recv(65536):
            s.sendall(part)

    proxy.origin.script = script
    with Client(proxy.port) as c:
        stream = c.send(websocket(), end=False)
        c.until(lambda: c.has(stream, h2.events.DataReceived))
        head = dict(c.has(stream, h2.events.ResponseReceived)[0].headers)
        assert head[":status"] == "200" and not {"upgrade", "connection", "sec-websocket-accept"} & set(head)
        assert c.h2.remote_settings.enable_connect_protocol == 1
        for text in (b"abc", b"\0\xff" * 60000):
            before = sum(len(e.data) for e in c.has(stream, h2.events.DataReceived))
            c.push(stream, text, end=False)
            c.until(lambda: sum(len(e.data) for e in c.has(stream, h2.events.DataReceived)) == before + len(text))
        c.h2.end_stream(stream)
        c.flush()
        assert c.answer(stream)[2] == b"hello" + b"abc" + b"\0\xff" * 60000
    assert heads[0].startswith(b"GET /a HTTP/1.1\r\n") and b"\r\nUpgrade: websocket\r\n" in heads[0]


def test_a_websocket_that_the_origin_does_not_confirm(proxy):
    def script(s):
        raw.read_head(s)
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")
        s.recv(1)

    proxy.origin.script = script
    with Client(proxy.port) as c:
        assert c.answer(c.send(websocket(), end=False))[0] is None
        proxy.origin.script = proxy.origin.answer_ok  # it answers, but not with 101
        stream = c.send(websocket(), end=False)
        assert c.answer(stream)[0] is None  # 200 would mean that there is a WebSocket (RFC 8441 section 5)
        proxy.origin.answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"
        stream = c.send(websocket(), end=False)
        assert c.answer(stream)[0] == 404


# ---- streams that end early ----


@pytest.mark.parametrize("phase", ["head", "upload", "waiting", "download", "tunnel"])
def test_a_reset_in_every_phase(proxy, phase):
    reached = threading.Event()

    def script(s):
        head, _ = raw.read_head(s)
        if phase == "download":
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 500000)
        if phase == "tunnel":
            s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                      b"Sec-WebSocket-Accept: " + accept_of(head) + b"\r\n\r\nhello")
        reached.set()
        while s.recv(65536):
            pass

    proxy.origin.script = script
    before = metric(proxy, "weir_http2_resets_total")
    with Client(proxy.port) as c:
        if phase == "head":
            stream = c.h2.get_next_available_stream_id()
            c.h2.send_headers(stream, fields(), end_stream=True)  # both in one segment
        elif phase == "upload":
            stream = c.send(fields("/stream", "POST"), b"x" * 1000, end=False)
            assert reached.wait(weir.PATIENCE)
        elif phase == "waiting":
            stream = c.send(fields())
            assert reached.wait(weir.PATIENCE)
        elif phase == "download":
            stream = c.send(fields())
            c.until(lambda: c.has(stream, h2.events.DataReceived))
        else:
            stream = c.send(websocket(), end=False)
            c.until(lambda: c.has(stream, h2.events.DataReceived))
        c.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        c.flush()
        weir.wait_until(lambda: metric(proxy, "weir_http2_streams") == 0, "the stream to end")
        assert metric(proxy, "weir_exchanges") == 0
        proxy.origin.script = proxy.origin.answer_ok
        assert c.ask(fields())[0] == 200
    assert metric(proxy, "weir_http2_resets_total") > before  # the library resets again for what was under way


@pytest.mark.parametrize("phase", ["idle", "waiting", "download", "upload"])
def test_a_client_that_goes_away(proxy, phase):
    def script(s):
        raw.read_head(s)
        if phase == "download":
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 5000000)
        while s.recv(65536):
            pass

    proxy.origin.script = script
    with Client(proxy.port) as c:
        if phase == "waiting":
            for _ in range(10):
                c.send(fields())
        elif phase == "download":
            for _ in range(5):
                stream = c.send(fields())
            c.until(lambda: c.has(stream, h2.events.DataReceived))
        elif phase == "upload":
            c.send(fields("/stream", "POST"), b"x" * 1000, end=False)
        weir.wait_until(lambda: metric(proxy, "weir_http2_connections") == 1, "the connection")
    weir.wait_until(lambda: metric(proxy, "weir_http2_connections") == 0, "the connection to end")


# ---- clients that mean no good ----


def test_bad_preface(proxy):
    out = raw.talk(proxy.port, b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 "), out  # so it is a request of HTTP/1, and a bad one
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", proxy.tls_port), timeout=weir.PATIENCE) as s, \
            context.wrap_socket(s) as t:
        t.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        out = b""
        while part := t.recv(65536):
            out += part
    assert Frames.frame(GOAWAY, 0, 0)[3:9] in out


@pytest.mark.parametrize("at", range(1, len(PREFACE)))
def test_a_preface_in_pieces(proxy, at):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.sendall(PREFACE[:at])
        if at % 6 == 0:  # let some arrive apart
            threading.Event().wait(0.001)
        s.sendall(PREFACE[at:] + Frames.frame(SETTINGS, 0, 0))
        assert s.recv(9)[3] == SETTINGS


G = (HEADERS, END_STREAM | END_HEADERS, 1, "get")
CONNECTION_ERRORS = [
    ("4.2 frame too large", [(DATA, 0, 1, b"x" * 16385)], "FRAME_SIZE_ERROR"),
    ("5.1 DATA on an idle stream", [(DATA, 0, 1, b"x")], "PROTOCOL_ERROR"),
    ("5.1 WINDOW_UPDATE on an idle stream", [(WINDOW, 0, 1, b"\0\0\0\1")], "PROTOCOL_ERROR"),
    ("5.1 RST_STREAM on an idle stream", [(RST, 0, 1, b"\0\0\0\0")], "PROTOCOL_ERROR"),
    ("5.1.1 even stream", [(HEADERS, END_STREAM | END_HEADERS, 2, "get")], "PROTOCOL_ERROR"),
    ("4.3 broken compression", [(HEADERS, END_STREAM | END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff")], "COMPRESSION_ERROR"),
    ("6.2 HEADERS on stream 0", [(HEADERS, END_STREAM | END_HEADERS, 0, "get")], "PROTOCOL_ERROR"),
    ("6.1 too much padding", [(HEADERS, END_HEADERS, 1, "post"), (DATA, PADDED, 1, b"\xffx")], "PROTOCOL_ERROR"),
    ("6.5 SETTINGS on a stream", [(SETTINGS, 0, 1, b"")], "PROTOCOL_ERROR"),
    ("6.5 half a setting", [(SETTINGS, 0, 0, b"\0\1\0")], "FRAME_SIZE_ERROR"),
    ("6.5.2 window too large", [(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff")], "FLOW_CONTROL_ERROR"),
    ("6.6 PUSH_PROMISE of a client", [(PUSH, END_HEADERS, 1, b"\0\0\0\2")], "PROTOCOL_ERROR"),
    ("6.7 short PING", [(PING, 0, 0, b"x")], "FRAME_SIZE_ERROR"),
    ("6.7 PING on a stream", [(PING, 0, 1, b"x" * 8)], "PROTOCOL_ERROR"),
    ("6.9 WINDOW_UPDATE of 0", [(WINDOW, 0, 0, b"\0\0\0\0")], "PROTOCOL_ERROR"),
    ("6.9.1 window over its limit", [(WINDOW, 0, 0, b"\x7f\xff\xff\xff")], "FLOW_CONTROL_ERROR"),
    ("6.10 CONTINUATION alone", [(CONTINUATION, END_HEADERS, 1, b"")], "PROTOCOL_ERROR"),
    ("6.10 another frame in a head", [(HEADERS, 0, 1, "get"), (PING, 0, 0, b"x" * 8)], "PROTOCOL_ERROR"),
    ("6.10 another stream in a head", [(HEADERS, 0, 1, "get"), (HEADERS, END_HEADERS, 3, "get")], "PROTOCOL_ERROR"),
]


@pytest.mark.parametrize("frames,code", [c[1:] for c in CONNECTION_ERRORS], ids=[c[0] for c in CONNECTION_ERRORS])
def test_errors_of_the_connection(proxy, frames, code):
    with Frames(proxy.port) as f:
        blocks = {"get": [M, S, P, A], "post": [(":method", "POST"), S, P, A]}
        for kind, flags, stream, payload in frames:
            f.send(kind, flags, stream, f.block(blocks[payload]) if isinstance(payload, str) else payload)
        assert f.error() == h2.errors.ErrorCodes[code]


def test_frames_on_closed_streams(proxy):
    """5.1."""
    with Frames(proxy.port) as f:
        f.send(HEADERS, END_STREAM | END_HEADERS, 1, f.block([M, S, P, A]))
        assert f.until(DATA, 1)
        f.send(WINDOW, 0, 1, b"\0\0\0\1")  # may have been under way
        f.send(RST, 0, 1, b"\0\0\0\0")
        f.send(PRIORITY, 0, 1, b"\0\0\0\0\0")
        f.send(HEADERS, END_STREAM | END_HEADERS, 3, f.block([M, S, P, A]))
        assert f.until(DATA, 3)
        f.send(DATA, END_STREAM, 1, b"x")
        f.send(HEADERS, END_STREAM | END_HEADERS, 5, f.block([M, S, P, A]))
        assert f.until(DATA, 5)


@pytest.mark.parametrize("limit,kind,flags,stream,payload", [
    ("http2_max_control_frames", PING, 0, 0, b"x" * 8),
    ("http2_max_control_frames", PING, ACK, 0, b"x" * 8),
    ("http2_max_control_frames", SETTINGS, 0, 0, b""),
    ("http2_max_control_frames", PRIORITY, 0, 1, b"\0\0\0\0\0"),
    ("http2_max_control_frames", WINDOW, 0, 0, b"\0\0\0\1"),
    ("http2_max_control_frames", DATA, 0, 1, b""),
    ("http2_max_control_frames", DATA, PADDED, 1, b"\3\0\0\0"),
    ("http2_max_continuations", CONTINUATION, 0, 1, b""),
], ids=["ping", "ping-ack", "settings", "priority", "window", "empty-data", "padding", "continuation"])
def test_floods(proxy, limit, kind, flags, stream, payload):
    before = limit_hits(proxy, limit)
    with Frames(proxy.port) as f:
        f.send(HEADERS, 0 if kind == CONTINUATION else END_HEADERS, 1, f.block([(":method", "POST"), S, P, A]))
        for _ in range(200):
            if not f.send(kind, flags, stream, payload, times=50):
                break
        assert f.error() in (h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, None)
    assert limit_hits(proxy, limit) == before + 1


@pytest.mark.parametrize("how", ["reset", "made-to-reset"])
def test_rapid_reset(proxy, how):
    """CVE-2023-44487, and its likes that make the server reset."""
    before = limit_hits(proxy, "http2_max_resets")
    seen = metric(proxy, "weir_http2_streams_total")
    with Frames(proxy.port) as f:
        for stream in range(1, 4001, 2):
            last = (RST, 0, stream, b"\0\0\0\x08") if how == "reset" else (DATA, END_STREAM, stream, b"12")
            head = [M, S, P, A] if how == "reset" else [(":method", "POST"), S, P, A, ("content-length", "1")]
            if not f.send(HEADERS, END_HEADERS, stream, f.block(head)) or not f.send(*last):
                break
        assert f.error() in (h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, None)
    assert limit_hits(proxy, "http2_max_resets") == before + 1
    assert metric(proxy, "weir_http2_streams_total") - seen <= 200


def test_resets_are_forgiven_to_those_who_let_requests_be_answered(proxy):
    with Client(proxy.port) as c:
        # more than http2_max_resets; its WINDOW_UPDATEs stay below http2_max_control_frames
        for _ in range(105):
            stream = c.send(fields())
            c.h2.reset_stream(stream)
            c.flush()
            assert c.ask(fields())[0] == 200


def test_more_streams_than_allowed(proxy):
    gate = threading.Event()

    def script(s):
        raw.read_head(s)
        gate.wait(weir.PATIENCE)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    proxy.origin.script = script
    before = limit_hits(proxy, "http2_max_concurrent_streams")
    with Frames(proxy.port) as f:  # our SETTINGS is not acknowledged: it may not know the limit
        for stream in range(1, 203, 2):
            f.send(HEADERS, END_STREAM | END_HEADERS, stream, f.block([M, S, P, A]))
        assert reset_code(f.until(RST, 201)) == h2.errors.ErrorCodes.REFUSED_STREAM
        gate.set()
        assert f.until(DATA)
    assert limit_hits(proxy, "http2_max_concurrent_streams") == before + 1


def test_a_head_that_never_ends(proxy):
    with Frames(proxy.port) as f:
        f.send(HEADERS, 0, 1, f.block([M, S, P, A]))
        assert f.error() is None  # in client_header_timeout


def test_a_client_that_takes_no_byte(proxy):
    """A window of 0 for ever: the stream ends, after client_write_timeout."""
    with Client(proxy.port, window=0) as c:
        stream = c.send(fields())
        assert c.answer(stream)[0] is None
        assert c.ask(fields(method="HEAD"))[0] == 200  # the connection is fine


def test_a_client_that_does_not_read(proxy):
    proxy.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000
    with Frames(proxy.port, struct.pack(">HI", 4, 0x7fffffff)) as f:
        f.send(WINDOW, 0, 0, struct.pack(">I", 0x7fff0000 - 65535))
        f.sock.settimeout(1)
        with contextlib.suppress(OSError):
            for stream in range(1, 201, 2):
                f.send(HEADERS, END_STREAM | END_HEADERS, stream, f.block([M, S, P, A]))
            for _ in range(50):
                f.send(PING, 0, 0, b"x" * 8, times=5)
        weir.wait_until(lambda: metric(proxy, "weir_http2_connections") == 0, "the connection to end")


def test_noise(proxy):
    dice = random.Random(5)
    kinds = list(range(10)) + [0x42]
    for _ in range(150):
        data = PREFACE + Frames.frame(SETTINGS, 0, 0)
        encoder = hpack.Encoder()
        for _ in range(dice.randrange(1, 30)):
            payload = encoder.encode([M, S, P, A]) if dice.random() < 0.5 else dice.randbytes(dice.randrange(0, 20))
            data += Frames.frame(dice.choice(kinds), dice.randrange(256), dice.choice((0, 1, 3, 5, 7, 9)), payload)
        raw.talk(proxy.port, data, half_close=True)
    with Client(proxy.port) as c:
        assert c.ask(fields())[0] == 200


# ---- the end of connections ----


def test_drain_loses_no_request(tmp_path, proxy):
    """6.8: a notice, then the last stream, then the end; every request is answered or known not to have been looked at."""
    origin = raw.Origin()
    gate = threading.Event()

    def script(s):
        while raw.read_head(s)[0]:
            gate.wait(weir.PATIENCE)
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    origin.script = script
    dp = start(tmp_path, origin)
    with Client(dp.port) as c, Client(dp.port) as idle:
        streams = [c.send(fields()) for _ in range(20)]
        weir.wait_until(lambda: metric(dp, "weir_http2_streams") == 20, "20 streams")
        dp.signal(15)
        assert c.sock.recv(1, socket.MSG_PEEK)
        streams += [c.send(fields()) for _ in range(20)]  # crosses the notice
        c.until(lambda: len(c.goaways) == 2)
        assert c.goaways[0] == (0, 2**31 - 1)
        streams += [c.send(fields()) for _ in range(5)]  # too late
        code, last = c.goaways[1]
        assert code == 0 and last >= streams[19]
        gate.set()
        for stream in streams:
            if stream <= last:
                assert c.answer(stream)[2] == b"ok"
        c.to_end()
        assert not [s for s in streams if s > last and c.has(s, h2.events.ResponseReceived)]
        idle.to_end()
        assert len(idle.goaways) == 2
    dp.stop()
    origin.close()


def test_idle_connections_and_those_of_many_requests_are_closed(tmp_path, proxy):
    dp = start(tmp_path, proxy.origin, "--client-idle-timeout", "300ms", "--client-max-requests", "5")
    with Client(dp.port) as c:
        assert c.ask(fields())[0] == 200
        c.to_end()
        assert [code for code, _ in c.goaways] == [0]
    with Client(dp.port) as c:
        for _ in range(5):
            assert c.ask(fields())[0] == 200
        c.to_end()
        assert [code for code, _ in c.goaways] == [0, 0]
    dp.stop()
