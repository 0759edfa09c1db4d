"""HTTP/2 towards upstreams, seen from both ends: an HTTP/1 client and an origin of frames."""
import contextlib
import os
import socket
import struct
import threading

import h2origin as h2
import pytest
import raw
import weir


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("http2_up"))
    certs = weir.make_certs(os.path.join(folder, "certs"))
    pair = (f"{certs}/cp.crt", f"{certs}/cp.key")
    origin, secure, old = h2.Http2Origin(), h2.Http2Origin(pair), h2.Http2Origin(pair, ["http/1.1"])
    file = os.path.join(folder, "weir.yaml")
    with open(file, "w") as f:
        f.write(f"""
_format_version: "3.0"
services:
- name: origin
  url: http://127.0.0.1:{origin.port}
  http_version: "2"
  retries: 2
  routes:
  - {{name: all, paths: ["/"], strip_path: false}}
  - {{name: stream, paths: ["/stream"], strip_path: false, request_buffering: false}}
- name: once
  url: http://127.0.0.1:{origin.port}
  http_version: "2"
  retries: 0
  routes:
  - {{name: once, paths: ["/once"], strip_path: false}}
- name: impatient
  url: http://127.0.0.1:{origin.port}
  http_version: "2"
  retries: 0
  read_timeout: 300
  routes:
  - {{name: impatient, paths: ["/impatient"], strip_path: false}}
- name: silent
  url: http://127.0.0.1:{origin.port}
  http_version: "2"
  retries: 0
  read_timeout: 1500
  routes:
  - {{name: silent, paths: ["/silent"], strip_path: false}}
- name: secure
  url: https://127.0.0.1:{secure.port}
  http_version: "2"
  routes:
  - {{name: secure, paths: ["/secure"], strip_path: false}}
- name: old
  url: https://127.0.0.1:{old.port}
  http_version: "2"
  retries: 0
  routes:
  - {{name: old, paths: ["/old"], strip_path: false}}
- name: dead
  url: http://127.0.0.1:1
  http_version: "2"
  retries: 1
  routes:
  - {{name: dead, paths: ["/dead"]}}
""")
    dp = weir.DataPlane(folder, declarative=file, workers=1)
    dp.start()
    dp.origin, dp.secure, dp.file = origin, secure, file
    yield dp
    dp.stop()
    for o in (origin, secure, old):
        o.close()


@pytest.fixture(autouse=True)
def fresh(proxy):
    proxy.origin.hang_up()
    proxy.secure.hang_up()
    weir.wait_until(lambda: idle(proxy) == 0, "kept connections to end")
    proxy.origin.requests.clear()
    proxy.origin.connections = 0
    proxy.origin.script = proxy.origin.serve_all
    yield
    failures, proxy.origin.failures = proxy.origin.failures, []
    assert not failures


def gauge(proxy, name):
    return sum(float(line.split()[-1]) for line in proxy.metrics().splitlines()
               if line.startswith(name) and line[len(name)] in " {")


def idle(proxy):
    return gauge(proxy, "weir_upstream_idle_connections")


def test_a_request_and_its_answer(proxy):
    answer = proxy.get("/a?b=c&d", headers={"X-Some": "Value", "Connection": "X-Hop", "X-Hop": "1", "TE": "trailers"})
    assert (answer.status, answer.body) == (200, b"ok")
    assert answer.header("Via").startswith("2 weir/")
    request, = proxy.origin.requests
    assert request[":method"] == "GET"
    assert request[":scheme"] == "http"
    assert request[":path"] == "/a?b=c&d"
    assert request[":authority"] == f"127.0.0.1:{proxy.origin.port}"
    assert request["x-some"] == "Value"
    assert request["te"] == "trailers"
    assert request["via"].startswith("1.1 weir/")
    assert request["x-forwarded-path"] == "/a"
    names = [name for name, _ in request.fields]
    assert all(name == name.lower() for name in names)
    assert not {"connection", "host", "x-hop", "keep-alive", "transfer-encoding"} & set(names)
    assert all(name.startswith(":") for name in names[:4])


def test_requests_share_a_connection(proxy):
    for _ in range(20):
        assert proxy.get("/").status == 200
    assert proxy.origin.connections == 1
    weir.wait_until(lambda: idle(proxy) == 1, "the connection to be idle")


@pytest.mark.parametrize("size", [1, 16384, 100_000, 1_000_000])
def test_bodies_up_and_down(proxy, size):
    body = os.urandom(size)
    seen = []

    def script(peer):
        peer.begin([(h2.INITIAL_WINDOW_SIZE, 70_000)])
        request = peer.next_request()
        seen.append(request)
        peer.headers(request.stream, [(":status", "200"), ("content-length", str(size))])
        for at in range(0, size, 16384):
            piece = body[at:at + 16384]
            peer.until(lambda: peer.window >= len(piece) and
                       peer.settings[h2.INITIAL_WINDOW_SIZE] + peer.windows.get(request.stream, 0) >= at + len(piece))
            peer.window -= len(piece)
            peer.data(request.stream, piece, end=at + 16384 >= size)
        while True:
            peer.step()

    proxy.origin.script = script
    answer = proxy.post("/stream", body)
    assert answer.status == 200
    assert answer.body == body
    assert seen[0].body == body
    assert seen[0]["content-length"] == str(size)
    assert proxy.origin.connections == 1


def test_nothing_is_sent_beyond_the_windows(proxy):
    """RFC 9113 section 6.9.1: the upload stands still at the window, and goes on when it opens."""
    body = os.urandom(200_000)
    seen = []

    def script(peer):
        peer.begin([(h2.INITIAL_WINDOW_SIZE, 1000)])
        peer.opens_windows = False
        first = peer.next_request()
        peer.until(lambda: peer.acknowledged)
        peer.answer(first)
        request = peer.next_request(ended=False)
        peer.until(lambda: len(request.body) >= 1000)
        peer.send(h2.PING, 0, 0, bytes(8))
        peer.until(lambda: peer.pongs)
        seen.append(len(request.body))
        peer.send(h2.WINDOW_UPDATE, 0, request.stream, struct.pack(">I", len(body)))
        peer.until(lambda: len(request.body) >= 65535)
        peer.send(h2.PING, 0, 0, bytes(8))
        peer.until(lambda: peer.pongs == 2)
        seen.append(len(request.body))
        peer.send(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", len(body)))
        peer.until(lambda: request.ended)
        peer.answer(request)
        peer.until(lambda: False)

    proxy.origin.script = script
    assert proxy.get("/").status == 200  # its settings are in force
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE) as s:
        s.sendall(b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\nExpect: 100-continue\r\n\r\n")
        assert raw.read_head(s)[0].startswith(b"HTTP/1.1 100 ")
        s.sendall(body)
        assert raw.read_response(s)[1] == b"ok"
    assert seen == [1000, 65535]


def test_chunked_body_with_trailers_goes_up(proxy):
    out = raw.talk(proxy.port, b"POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                   b"3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Sum: 7\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 200 ")
    request, = proxy.origin.requests
    assert request.body == b"abcdef"
    assert request.trailers == [("x-sum", "7")]


def test_trailers_come_down_to_those_who_take_them(proxy):
    def script(peer):
        peer.begin()
        while True:
            peer.answer(peer.next_request(), b"body", trailers=[("x-sum", "9"), ("content-length", "4")])

    proxy.origin.script = script
    out = raw.talk(proxy.port, b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n")
    assert out.endswith(b"body\r\n0\r\nx-sum: 9\r\n\r\n"), out
    out = raw.talk(proxy.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert out.endswith(b"body\r\n0\r\n\r\n"), out


def test_interim_heads_go_on(proxy):
    def script(peer):
        peer.begin()
        request = peer.next_request()
        peer.headers(request.stream, [(":status", "100")])
        peer.headers(request.stream, [(":status", "103"), ("link", "</a>")])
        peer.answer(request, status="404")
        peer.step()

    proxy.origin.script = script
    out = raw.talk(proxy.port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"
                          b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\n"), out


def test_head_only(proxy):
    def script(peer):
        peer.begin()
        while True:
            request = peer.next_request()
            peer.headers(request.stream, [(":status", "200"), ("content-length", "5")], end=True)

    proxy.origin.script = script
    answer = proxy.request("HEAD", "/")
    assert (answer.status, answer.header("Content-Length")) == (200, "5")


def test_many_streams_at_once(proxy):
    waiting = []

    def script(peer):
        peer.begin()
        while len(waiting) < 100:
            waiting.append(peer.next_request())
        for request in reversed(waiting):
            peer.answer(request, request[":path"].encode())
        while True:
            peer.step()

    proxy.origin.script = script
    answers = concurrently(proxy, 100)
    assert [a.body for a in answers] == [f"/{i}".encode() for i in range(100)]
    assert proxy.origin.connections == 1


def concurrently(proxy, n, method="GET"):
    answers = [None] * n

    def ask(i):
        answers[i] = proxy.request(method, f"/{i}")

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return answers


def test_more_streams_than_allowed_take_more_connections(proxy):
    gate = threading.Semaphore(0)

    def script(peer):
        peer.begin([(h2.MAX_CONCURRENT_STREAMS, 2)])
        while True:
            request = peer.next_request()
            proxy.origin.requests.append(request)
            if request[":path"] != "/first":
                gate.acquire()
            peer.answer(request)

    proxy.origin.script = script
    assert proxy.get("/first").status == 200  # the settings have come
    results = []
    threads = [threading.Thread(target=lambda: results.append(proxy.get("/x").status)) for _ in range(5)]
    for t in threads:
        t.start()
    weir.wait_until(lambda: proxy.origin.connections >= 2, "a second connection")
    for _ in range(5):
        gate.release()
    for t in threads:
        t.join()
    assert results == [200] * 5


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("how", ["refused", "goaway"])
def test_what_was_not_looked_at_is_sent_again(proxy, method, how):
    first = threading.Event()

    def script(peer):
        peer.begin()
        request = peer.next_request()
        if not first.is_set():
            first.set()
            if how == "refused":
                peer.reset(request.stream, h2.REFUSED_STREAM)
                request = peer.next_request()
            else:
                peer.go_away(0)
                peer.until(lambda: False)
        proxy.origin.requests.append(request)
        peer.answer(request, b"again")
        peer.until(lambda: False)

    proxy.origin.script = script
    answer = proxy.request(method, "/", body=b"data" if method == "POST" else None)
    assert (answer.status, answer.body) == (200, b"again")
    assert proxy.origin.requests[-1].body == (b"data" if method == "POST" else b"")
    assert proxy.origin.connections == (1 if how == "refused" else 2)


def test_goaway_lets_older_streams_end(proxy):
    def script(peer):
        peer.begin()
        request = peer.next_request()
        peer.headers(request.stream, [(":status", "200")])
        peer.data(request.stream, b"one ")
        peer.go_away(request.stream)
        peer.data(request.stream, b"two", end=True)
        peer.until(lambda: False)

    proxy.origin.script = script
    assert proxy.get("/").body == b"one two"
    assert proxy.get("/").body == b"one two"
    assert proxy.origin.connections == 2
    weir.wait_until(lambda: not proxy.origin.open, "the connections to end")


def test_post_that_was_looked_at_is_not_sent_again(proxy):
    def script(peer):
        peer.begin()
        request = peer.next_request()
        proxy.origin.requests.append(request)
        peer.reset(request.stream, h2.INTERNAL_ERROR)
        peer.until(lambda: False)

    proxy.origin.script = script
    assert proxy.post("/", b"x").status == 502
    assert len(proxy.origin.requests) == 1


def test_idempotent_requests_are_tried_again(proxy):
    def script(peer):
        peer.begin()
        while True:
            request = peer.next_request()
            proxy.origin.requests.append(request)
            peer.reset(request.stream, h2.INTERNAL_ERROR)

    proxy.origin.script = script
    assert proxy.get("/").status == 502
    assert len(proxy.origin.requests) >= 3  # 1 + retries, and what costs none


def test_connection_lost_with_a_hundred_streams(proxy):
    def script(peer):
        peer.begin()
        for _ in range(100):
            proxy.origin.requests.append(peer.next_request())

    proxy.origin.script = script
    assert [a.status for a in concurrently(proxy, 100, "POST")] == [502] * 100
    assert len(proxy.origin.requests) == 100
    proxy.origin.script = proxy.origin.serve_all
    assert proxy.get("/").status == 200


def test_connection_lost_in_a_body(proxy):
    def script(peer):
        peer.begin()
        request = peer.next_request()
        peer.headers(request.stream, [(":status", "200")])
        peer.data(request.stream, b"half")

    proxy.origin.script = script
    out = raw.talk(proxy.port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 200 ") and b"half" in out and not out.endswith(b"0\r\n\r\n")


def test_reset_in_a_body_breaks_that_stream_alone(proxy):
    def script(peer):
        peer.begin()
        request = peer.next_request()
        peer.headers(request.stream, [(":status", "200")])
        peer.data(request.stream, b"half")
        peer.reset(request.stream, h2.INTERNAL_ERROR)
        while True:
            peer.answer(peer.next_request())

    proxy.origin.script = script
    out = raw.talk(proxy.port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"half" in out and not out.endswith(b"0\r\n\r\n")
    assert proxy.get("/").body == b"ok"
    assert proxy.origin.connections == 1


def test_early_answer_stops_the_upload(proxy):
    """A complete response, then RST_STREAM NO_ERROR (RFC 9113 section 8.1)."""
    def script(peer):
        peer.begin()
        request = peer.next_request(ended=False)
        peer.answer(request, b"enough", status="413")
        peer.reset(request.stream, h2.NO_ERROR)
        peer.until(lambda: False)

    proxy.origin.script = script
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE) as s:
        s.sendall(b"POST /stream HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc")
        head, body, _ = raw.read_response(s)
    assert head.startswith(b"HTTP/1.1 413 ") and body == b"enough"


def test_a_client_that_leaves_cancels_its_stream(proxy):
    gone = threading.Event()
    got = threading.Event()

    def script(peer):
        peer.begin()
        request = peer.next_request()
        got.set()
        peer.until(lambda: request.reset is not None)
        if request.reset == h2.CANCEL:
            gone.set()
        while True:
            peer.answer(peer.next_request())

    proxy.origin.script = script
    with socket.create_connection(("127.0.0.1", proxy.port)) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert got.wait(weir.PATIENCE)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert gone.wait(weir.PATIENCE)
    assert proxy.get("/").body == b"ok"
    assert proxy.origin.connections == 1


def test_a_slow_client_holds_up_the_upstream_and_nobody_else(proxy):
    """What it does not read stays at the origin: its stream's window is not opened."""
    sent = []
    size = 64 * 1024 * 1024

    def script(peer):
        peer.begin()
        slow = peer.next_request()
        peer.headers(slow.stream, [(":status", "200")])
        peer.until(lambda: h2.INITIAL_WINDOW_SIZE in peer.settings)
        room = peer.settings[h2.INITIAL_WINDOW_SIZE]
        sent.append(0)
        while sent[0] < size:
            if peer.window >= 16384 and room + peer.windows.get(slow.stream, 0) - sent[0] >= 16384:
                peer.data(slow.stream, bytes(16384))
                peer.window -= 16384
                sent[0] += 16384
                continue
            kind, stream = peer.step()
            if kind == h2.HEADERS:
                peer.answer(peer.requests[stream])

    proxy.origin.script = script
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        s.connect(("127.0.0.1", proxy.port))
        s.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        s.settimeout(weir.PATIENCE)
        assert s.recv(12) == b"HTTP/1.1 200"
        for _ in range(10):
            assert proxy.get("/quick").body == b"ok"
        assert sent[0] < size
    assert proxy.origin.connections == 1


def test_read_timeout(proxy):
    def script(peer):
        peer.begin()
        peer.until(lambda: False)

    proxy.origin.script = script
    assert proxy.get("/impatient").status == 504


def test_a_silent_connection_gets_no_more_requests(proxy):
    def script(peer):
        peer.begin()
        while (request := peer.next_request())[":path"] != "/silent":
            peer.answer(request)
        peer.until(lambda: False)

    proxy.origin.script = script
    assert proxy.get("/").status == 200
    assert proxy.get("/silent").status == 504
    assert proxy.get("/").status == 200
    assert proxy.origin.connections == 2


def test_connections_end_after_their_requests_and_when_idle(proxy, tmp_path):
    farewells = []

    def script(peer):
        peer.begin()
        try:
            while True:
                peer.answer(peer.next_request())
        finally:
            farewells.append(peer.goaway)

    proxy.origin.script = script
    dp = weir.DataPlane(tmp_path, "--upstream-keepalive-max-requests", "3", "--upstream-keepalive-idle-timeout", "100ms",
                        declarative=proxy.file, workers=1)
    dp.start()
    for n in range(4):
        assert dp.get("/").status == 200
    weir.wait_until(lambda: len(farewells) == 2, "both connections to end")
    assert farewells == [0, 0]
    dp.stop()


def malformed(send):
    def script(peer):
        peer.begin()
        send(peer, peer.next_request().stream)
        while True:
            peer.answer(peer.next_request())
    return script


MALFORMED = {
    "no status": lambda p, n: p.headers(n, [("x-a", "b")], end=True),
    "two statuses": lambda p, n: p.headers(n, [(":status", "200"), (":status", "200")], end=True),
    "bad status": lambda p, n: p.headers(n, [(":status", "2x0")], end=True),
    "status 101": lambda p, n: p.headers(n, [(":status", "101")]),
    "end with an interim head": lambda p, n: p.headers(n, [(":status", "103")], end=True),
    "capital in a name": lambda p, n: p.headers(n, [(":status", "200"), ("X-A", "b")], end=True),
    "connection field": lambda p, n: p.headers(n, [(":status", "200"), ("connection", "close")], end=True),
    "line break in a value": lambda p, n: p.headers(n, [(":status", "200"), ("x-a", "b\r\nc: d")], end=True),
    "two lengths": lambda p, n: p.headers(n, [(":status", "200"), ("content-length", "1"), ("content-length", "2")]),
    "head too large": lambda p, n: p.headers(n, [(":status", "200"), ("x-a", "b" * 12000), ("x-b", "b" * 12000),
                                                 ("x-c", "b" * 12000)][:2] + [("x-d", "c" * 3000)] * 8, end=True),
    "too many fields": lambda p, n: p.headers(n, [(":status", "200")] + [("x-a", "b")] * 300, end=True),
    "data before a head": lambda p, n: p.data(n, b"x"),
    "data on stream 0": lambda p, n: p.data(0, b"x"),
    "frame too large": lambda p, n: p.send(h2.DATA, 0, n, bytes(16385)),
    "settings of odd length": lambda p, n: p.send(h2.SETTINGS, 0, 0, bytes(5)),
    "window of zero": lambda p, n: p.send(h2.WINDOW_UPDATE, 0, 0, bytes(4)),
    "promise": lambda p, n: p.send(h2.PUSH_PROMISE, h2.END_HEADERS, n, struct.pack(">I", 2)),
    "bad compression": lambda p, n: p.send(h2.HEADERS, h2.END_HEADERS, n, b"\xff\xff\xff\xff\xff\xff"),
    "continuation of nothing": lambda p, n: p.send(h2.CONTINUATION, h2.END_HEADERS, n, b""),
    "not HTTP/2": lambda p, n: p.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_responses_are_502(proxy, what):
    proxy.origin.script = malformed(MALFORMED[what])
    assert proxy.get("/once").status == 502
    proxy.origin.script = proxy.origin.serve_all
    assert proxy.get("/").status == 200


def test_wrong_length_is_cut(proxy):
    def script(peer):
        peer.begin()
        request = peer.next_request()
        peer.headers(request.stream, [(":status", "200"), ("content-length", "10")])
        peer.data(request.stream, b"short", end=True)
        peer.until(lambda: False)

    proxy.origin.script = script
    out = raw.talk(proxy.port, b"GET /once HTTP/1.1\r\nHost: a\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 502 ") or out.endswith(b"\r\n\r\nshort") or out.endswith(b"\r\n\r\n"), out


def test_heads_as_bombs_end_their_stream(proxy):
    """One long field in the table, then its index again and again: little to send, much to hold."""
    def script(peer):
        peer.begin()
        stream = peer.next_request().stream
        peer.headers(stream, [(":status", "100"), ("x-bomb", "b" * 3900)])
        peer.send(h2.HEADERS, h2.END_HEADERS, stream, peer.encoder.encode([(":status", "200")]) + b"\xbe" * 10000)
        while True:
            peer.answer(peer.next_request())

    proxy.origin.script = script
    assert proxy.get("/once").status == 502
    assert proxy.get("/").status == 200
    assert proxy.origin.connections == 1


@pytest.mark.parametrize("frame", [
    (h2.PING, 0, 0, bytes(8)),
    (h2.SETTINGS, 0, 0, b""),
    (h2.PRIORITY, 0, 1, bytes(5)),
], ids=["ping", "settings", "priority"])
def test_floods_end_the_connection(proxy, frame):
    def script(peer):
        peer.begin()
        peer.next_request()
        for _ in range(20000):
            peer.send(*frame)
        peer.until(lambda: False)

    proxy.origin.script = script
    assert proxy.get("/once").status == 502
    weir.wait_until(lambda: not proxy.origin.open, "the connection to end")


def test_continuation_flood_ends_the_connection(proxy):
    def script(peer):
        peer.begin()
        stream = peer.next_request().stream
        peer.send(h2.HEADERS, 0, stream, peer.encoder.encode([(":status", "200")]))
        for _ in range(1000):
            peer.send(h2.CONTINUATION, 0, stream, b"")
        peer.until(lambda: False)

    proxy.origin.script = script
    assert proxy.get("/once").status == 502
    weir.wait_until(lambda: not proxy.origin.open, "the connection to end")


def test_pings_are_answered(proxy):
    done = threading.Event()

    def script(peer):
        peer.begin()
        request = peer.next_request()
        peer.send(h2.PING, 0, 0, b"12345678")
        peer.until(lambda: peer.pongs)
        peer.answer(request)
        done.set()
        peer.until(lambda: False)

    proxy.origin.script = script
    assert proxy.get("/").status == 200
    assert done.wait(weir.PATIENCE)


def test_over_tls(proxy):
    for _ in range(3):
        answer = proxy.get("/secure/x")
        assert (answer.status, answer.body) == (200, b"ok")
    assert proxy.secure.requests[-1][":scheme"] == "https"
    assert proxy.secure.connections == 1
    body = os.urandom(300_000)
    assert proxy.post("/secure/x", body).status == 200
    assert proxy.secure.requests[-1].body == body


def test_tls_without_h2_is_502(proxy):
    def said():
        assert proxy.get("/old").status == 502
        return "reason=it did not agree on HTTP/2 (ALPN h2)" in proxy.log()
    weir.wait_until(said, "the line in the log, which are limited in number")


def test_nobody_listens(proxy):
    assert proxy.get("/dead").status == 502


def test_only_http_services_choose_a_version(cluster):
    answer = cluster.cp.post("/services", {"name": "v", "url": "http://a.test", "http_version": "3"})
    assert answer.status == 400
    assert answer["fields"] == {"http_version": "expected one of: 1.1, 2"}
    answer = cluster.cp.post("/services", {"name": "v", "protocol": "grpc", "host": "a.test", "http_version": "2"})
    assert answer.status == 400
    assert cluster.cp.post("/services", {"name": "v", "url": "http://a.test"}).json.get("http_version") is None
    assert "http_version" not in cluster.cp.get("/services/v").json
    assert cluster.cp.patch("/services/v", {"http_version": "2"})["http_version"] == "2"
    assert cluster.cp.get("/services/v")["http_version"] == "2"
    assert "http_version" not in cluster.cp.get("/schemas/services").text
    assert cluster.cp.delete("/services/v").status == 204


# ---- what an upstream may not do to us ----


@pytest.mark.parametrize("status", ["000", "042", "099"])
def test_a_status_that_does_not_exist_is_502(proxy, status):
    """RFC 9110 section 15: 100 to 599."""
    proxy.origin.script = malformed(lambda p, n: p.headers(n, [(":status", status)], end=True))
    assert proxy.get("/once").status == 502


def test_a_head_larger_than_a_frame_goes_up(tmp_path, proxy):
    """nghttp2 counts more for a field than we do: as much as a client may send has to go up."""
    got = []

    def script(peer):
        peer.begin()
        block, kind, flags, stream = b"", None, 0, 0
        while not flags & h2.END_HEADERS or kind not in (h2.HEADERS, h2.CONTINUATION):
            head = peer.read(9)
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            payload = peer.read(int.from_bytes(head[:3], "big"))
            if kind == h2.HEADERS:
                block = payload[5:] if flags & 0x20 else payload
            elif kind == h2.CONTINUATION:
                block += payload
        peer.decoder.max_header_list_size = 1 << 20
        got.append(dict(peer.decoder.decode(block)))
        peer.headers(stream, [(":status", "204")], end=True)
        peer.until(lambda: False)

    proxy.origin.script = script
    dp = weir.DataPlane(str(tmp_path), "--client-max-header-bytes", "64k", declarative=proxy.file, workers=1).start()
    lines = b"".join(b"x-%d: %s\r\n" % (i, b"v" * 660) for i in range(97))
    out = raw.talk(dp.port, b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + lines + b"\r\n")
    assert out.startswith(b"HTTP/1.1 204 "), out
    assert got[0]["x-96"] == "v" * 660
    dp.stop()


def test_an_upstream_that_does_not_read_gets_no_more_requests(tmp_path, proxy):
    """Heads wait in memory, whatever the windows: so there must not be ever more of them."""
    over = threading.Event()

    def script(peer):
        peer.begin()
        over.wait(weir.PATIENCE)

    proxy.origin.script = script
    dp = weir.DataPlane(str(tmp_path), "--client-max-header-bytes", "64k", declarative=proxy.file, workers=1).start()
    with contextlib.ExitStack() as clients:
        def ask():
            s = clients.enter_context(socket.create_connection(("127.0.0.1", dp.port), timeout=weir.PATIENCE))
            s.sendall(b"GET /stream HTTP/1.1\r\nHost: a\r\nX-Big: " + b"v" * 60000 + b"\r\n\r\n")
            return proxy.origin.connections > 1
        weir.wait_until(ask, "a second connection")
    over.set()
    dp.stop()
