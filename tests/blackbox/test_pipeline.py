"""Pipelined requests (RFC 9112 section 9.3.2): safe ones run at once, answers leave in order."""
import re
import socket
import threading

import pytest
import raw
import tcp
import weir


class Gate:
    """An origin whose answers are let go one by one: /NAME waits until open(NAME)."""

    def __init__(self):
        self.lock = threading.Condition()
        self.arrived, self.released = [], {}

    def open(self, name, answer=None):
        with self.lock:
            self.released[name] = answer or self.ok(name)
            self.lock.notify_all()

    @staticmethod
    def ok(name, body=None):
        body = name if body is None else body
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def script(self, s):
        while True:
            head, rest = raw.read_head(s)
            if not head:
                return
            name = head.split()[1].lstrip(b"/")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            while length and len(rest) < int(length[1]):
                rest += s.recv(65536)
            with self.lock:
                self.arrived.append(name)
                self.lock.notify_all()
                if not self.lock.wait_for(lambda: name in self.released, weir.PATIENCE):
                    return
                answer = self.released[name]
            if answer == "cut":
                s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
                return
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" if head.startswith(b"HEAD") else answer)

    def wait_for(self, *names):
        with self.lock:
            assert self.lock.wait_for(lambda: set(names) <= set(self.arrived), weir.PATIENCE), self.arrived


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    origin, folder = raw.Origin(), str(tmp_path_factory.mktemp("pipeline"))
    file = folder + "/weir.yaml"
    with open(file, "w") as f:
        f.write(f"""
_format_version: "3.0"
services:
- name: origin
  url: {origin.url}
  retries: 0
  routes:
  - {{name: all, paths: ["/"]}}
  - name: local
    paths: ["/local"]
    plugins: [{{name: request-termination, config: {{status_code: 403, message: no}}}}]
""")
    dp = weir.DataPlane(folder, "--client-write-timeout", "2s", declarative=file, workers=1)
    dp.start()
    dp.origin = origin
    yield dp
    dp.stop()
    origin.close()


@pytest.fixture
def gate(proxy):
    proxy.origin.hang_up()
    gate = Gate()
    proxy.origin.script = gate.script
    yield gate
    proxy.origin.hang_up()


def connect(proxy):
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE)


def get(name, method=b"GET", extra=b""):
    return b"%s /%s HTTP/1.1\r\nHost: a\r\n%s\r\n" % (method, name, extra)


def answers(s, n):
    """Bodies of the next n answers, and what came too much."""
    rest, bodies = b"", []
    for _ in range(n):
        head, body, rest = raw.read_response(s, rest)
        bodies.append(body)
    return bodies, rest


def test_safe_requests_run_at_once_and_are_answered_in_order(proxy, gate):
    names = [b"n%d" % i for i in range(10)]
    with connect(proxy) as s:
        s.sendall(b"".join(map(get, names)))
        gate.wait_for(*names)
        for name in reversed(names):
            gate.open(name)
        assert answers(s, 10) == (names, b"")
        s.sendall(get(b"after"))
        gate.open(b"after")
        assert answers(s, 1) == ([b"after"], b"")


def test_requests_may_come_in_pieces(proxy, gate):
    data = b"".join(get(b"p%d" % i) for i in range(5))
    for i in range(5):
        gate.open(b"p%d" % i)
    with connect(proxy) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(data), 7):
            s.sendall(data[i:i + 7])
        assert answers(s, 5) == ([b"p%d" % i for i in range(5)], b"")


@pytest.mark.parametrize("barrier", [
    get(b"b", b"POST", b"Content-Length: 1\r\n") + b"x",
    get(b"b", b"GET", b"Content-Length: 1\r\n") + b"x",
    get(b"b", b"DELETE"),
    b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
], ids=["POST", "GET with a body", "DELETE", "chunked"])
def test_what_is_not_safe_waits_for_its_turn(proxy, gate, barrier):
    with connect(proxy) as s:
        s.sendall(get(b"a1") + get(b"a2") + barrier + get(b"c1") + get(b"c2"))
        gate.wait_for(b"a1", b"a2")
        gate.open(b"a2")
        assert b"b" not in gate.arrived
        gate.open(b"a1")
        gate.wait_for(b"b")
        if not barrier.startswith(b"GET"):
            assert gate.arrived[2:] == [b"b"]
        gate.open(b"b")
        gate.open(b"c2")
        gate.open(b"c1")
        assert answers(s, 5) == ([b"a1", b"a2", b"b", b"c1", b"c2"], b"")


def test_answers_larger_than_what_is_held(proxy, gate):
    big = b"x" * 3_000_000
    with connect(proxy) as s:
        s.sendall(get(b"front") + get(b"big1") + get(b"big2") + get(b"small"))
        gate.wait_for(b"front", b"big1", b"big2", b"small")
        for name in (b"big2", b"big1"):
            gate.open(name, gate.ok(name, big))
        gate.open(b"small")
        gate.open(b"front")
        assert answers(s, 4) == ([b"front", big, big, b"small"], b"")


def test_own_answers_keep_their_place(proxy, gate):
    with connect(proxy) as s:
        s.sendall(get(b"slow") + get(b"local") + get(b"end"))
        gate.wait_for(b"slow", b"end")
        gate.open(b"end")
        gate.open(b"slow")
        bodies, rest = answers(s, 3)
        assert bodies[0] == b"slow" and b"no" in bodies[1] and bodies[2] == b"end" and rest == b""


def test_a_bad_request_ends_the_line_behind_the_answers_before_it(proxy, gate):
    with connect(proxy) as s:
        s.sendall(get(b"one") + get(b"two") + b"GET /bad HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n" + get(b"never"))
        gate.wait_for(b"one", b"two")
        gate.open(b"two")
        gate.open(b"one")
        rest = b""
        for body in (b"one", b"two"):
            head, got, rest = raw.read_response(s, rest)
            assert got == body
        head, _, rest = raw.read_response(s, rest)
        assert head.startswith(b"HTTP/1.1 400") and b"onnection: close" in head
        assert rest == b"" and s.recv(1) == b""
        assert b"never" not in gate.arrived


def test_a_request_that_wants_the_end_is_the_last(proxy, gate):
    with connect(proxy) as s:
        s.sendall(get(b"k1") + get(b"k2") + get(b"k3", extra=b"Connection: close\r\n") + get(b"never"))
        gate.wait_for(b"k1", b"k2")
        for name in (b"k3", b"k2", b"k1"):
            gate.open(name)
        bodies, rest = answers(s, 3)
        assert bodies == [b"k1", b"k2", b"k3"] and rest == b"" and s.recv(1) == b""
        assert b"never" not in gate.arrived


def test_a_cut_answer_is_seen_as_one(proxy, gate):
    with connect(proxy) as s:
        s.sendall(get(b"q1") + get(b"q2") + get(b"q3"))
        gate.wait_for(b"q1", b"q2", b"q3")
        gate.open(b"q3")
        gate.open(b"q2", "cut")
        gate.open(b"q1")
        head, body, rest = raw.read_response(s)
        assert body == b"q1"
        while part := s.recv(65536):
            rest += part
        assert b"Content-Length: 100" in rest and rest.endswith(b"half")


def test_a_client_that_goes_leaves_nothing(proxy, gate):
    with connect(proxy) as s:
        s.sendall(b"".join(get(b"g%d" % i) for i in range(8)))
        gate.wait_for(*(b"g%d" % i for i in range(8)))
    for i in range(8):
        gate.open(b"g%d" % i)
    weir.wait_until(lambda: "weir_exchanges 0\n" in proxy.metrics(), "exchanges to end")


def test_half_close_behind_the_last_request(proxy, gate):
    with connect(proxy) as s:
        s.sendall(get(b"h1") + get(b"h2"))
        gate.wait_for(b"h1", b"h2")
        s.shutdown(socket.SHUT_WR)
        gate.open(b"h2")
        gate.open(b"h1")
        assert answers(s, 2) == ([b"h1", b"h2"], b"") and s.recv(1) == b""


def test_a_reader_that_does_not_read_is_cut_off(proxy, gate):
    big = b"x" * 30_000_000
    with connect(proxy) as s:
        s.sendall(get(b"r1") + get(b"r2"))
        gate.wait_for(b"r1", b"r2")
        gate.open(b"r2", gate.ok(b"r2", big))
        gate.open(b"r1", gate.ok(b"r1", big))
        weir.wait_until(lambda: "weir_exchanges 0\n" in proxy.metrics(), "the write timeout")


def test_a_reader_that_takes_the_first_answer_only_is_cut_off(proxy, gate):
    def hits():
        return tcp.metric(proxy.metrics(), "weir_limit_hits_total", limit="client_write_timeout")
    before = hits()
    with connect(proxy) as s:
        s.sendall(get(b"w1") + get(b"w2"))
        gate.wait_for(b"w1", b"w2")
        gate.open(b"w1")
        assert answers(s, 1) == ([b"w1"], b"")
        gate.open(b"w2", gate.ok(b"w2", b"x" * 30_000_000))
        weir.wait_until(lambda: "weir_exchanges 0\n" in proxy.metrics(), "the write timeout")
    assert hits() == before + 1


def test_a_line_that_drain_timeout_ends_leaves_nothing(proxy, gate, tmp_path):
    short = weir.DataPlane(str(tmp_path), "--drain-timeout", "300ms", declarative=proxy.args[
        proxy.args.index("--declarative") + 1], workers=1)
    short.start()
    with connect(short) as s:
        s.sendall(get(b"d1") + get(b"d2") + get(b"d3"))
        gate.wait_for(b"d1", b"d2", b"d3")
        short.stop()
        assert s.recv(1) == b""


def test_heads_and_gets_mixed(proxy, gate):
    with connect(proxy) as s:
        s.sendall(get(b"m1", b"HEAD") + get(b"m2") + get(b"m3", b"HEAD"))
        gate.wait_for(b"m1", b"m2", b"m3")
        for name in (b"m3", b"m2", b"m1"):
            gate.open(name)
        out = b""
        while out.count(b"\r\n\r\n") < 3 or not out.endswith(b"\r\n\r\n"):
            out += s.recv(65536)
        assert out.count(b"HTTP/1.1 200") == 3 and out.count(b"\r\n\r\nm2HTTP/1.1") == 1


def test_more_than_run_at_once(proxy, gate):
    names = [b"x%d" % i for i in range(200)]
    for name in names:
        gate.open(name)
    with connect(proxy) as s:
        s.sendall(b"".join(map(get, names)))
        assert answers(s, 200) == (names, b"")
