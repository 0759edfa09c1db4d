"""The engine under pressure: cuts at every byte, floods from both sides, readers that do not read,
bodies of all sizes, and nothing left behind."""
import contextlib
import os
import re
import resource
import socket
import ssl
import threading
import time

import pytest
import raw
import weir

CLOSE = b"Connection: close\r\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    origin, folder = raw.Origin(), str(tmp_path_factory.mktemp("engine"))
    certs = weir.make_certs(os.path.join(folder, "certs"))
    secure = raw.Origin()
    file = os.path.join(folder, "weir.yaml")
    with open(file, "w") as f:
        f.write(f"""
_format_version: "3.0"
consumers:
- username: alice
  keyauth_credentials: [{{key: secret}}]
services:
- name: origin
  url: {origin.url}
  retries: 1
  routes:
  - {{name: all, paths: ["/"]}}
  - {{name: stream, paths: ["/stream"], request_buffering: false}}
  - {{name: known, paths: ["/known"], plugins: [{{name: key-auth, config: {{key_in_body: true}}}}]}}
- name: pair
  host: pair
  routes:
  - {{name: pair, paths: ["/pair"]}}
- name: secure
  url: https://127.0.0.1:{secure.port}
  retries: 0
  routes:
  - {{name: secure, paths: ["/secure"]}}
upstreams:
- name: pair
  targets:
  - {{target: "127.0.0.1:1", weight: 100}}
  - {{target: "127.0.0.1:{origin.port}", weight: 100}}
""")
    dp = weir.DataPlane(folder, "--client-header-timeout", "2s", "--client-body-timeout", "1s",
                        "--client-write-timeout", "1s", "--drain-timeout", "10s", declarative=file)
    dp.start()
    dp.origin, dp.secure, dp.certs, dp.file = origin, secure, certs, file
    yield dp
    dp.stop()
    origin.close()
    secure.close()


@pytest.fixture(autouse=True)
def fresh(gateway):
    gateway.origin.hang_up()
    gateway.origin.heads.clear()
    gateway.origin.script = gateway.origin.answer_ok
    gateway.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    yield
    gateway.origin.hang_up()
    weir.wait_until(lambda: not open_clients(gateway), "the clients' connections to end")


def open_clients(dp):
    """Established connections of clients at the proxy's ports."""
    ports = {f"{p:04X}" for p in (dp.port, dp.tls_port)}
    with open(f"/proc/{dp.process.pid}/net/tcp") as f:
        rows = [line.split() for line in f][1:]
    return sum(r[1].split(":")[1] in ports and r[3] == "01" for r in rows)


def descriptors(dp):
    return len(os.listdir(f"/proc/{dp.process.pid}/fd"))


def memory(dp):
    """Resident bytes."""
    with open(f"/proc/{dp.process.pid}/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def connect(port, **more):
    s = socket.create_connection(("127.0.0.1", port), timeout=weir.PATIENCE, **more)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    s.close()


def drain(s):
    out = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while part := s.recv(1 << 18):
            out += part
    return bytes(out)


def echo(s):
    """An origin that answers each request with its decoded body."""
    rest = b""
    while True:
        while b"\r\n\r\n" not in rest:
            part = s.recv(65536)
            if not part:
                return
            rest += part
        head, _, rest = rest.partition(b"\r\n\r\n")
        fields = head.lower()
        if b"transfer-encoding: chunked" in fields:
            _, body, rest = raw.read_response(s, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
        else:
            found = re.search(rb"content-length: (\d+)", fields)
            _, body, rest = raw.read_response(
                s, b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n" % (found[1] if found else b"0") + rest)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


# ---- cuts ----

ANSWER = (b"HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"
          b"5;e\r\nhello\r\n6\r\n world\r\n0\r\nT: v\r\n\r\n")


@pytest.mark.parametrize("hard", [False, True], ids=["closed", "reset"])
def test_origin_ends_at_every_byte(gateway, hard):
    cut = 0

    def script(s):
        raw.read_head(s)
        s.sendall(ANSWER[:cut])
        if hard:
            reset(s)

    gateway.origin.script = script
    for cut in range(len(ANSWER) + 1):
        for request in (b"GET /x HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n",
                        b"POST /x HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"Content-Length: 3\r\n\r\nabc"):
            final = raw.talk(gateway.port, request).split(b"HTTP/1.1 ")[-1]
            whole = final.startswith(b"200") and final.endswith(b"\r\n0\r\n\r\n")
            if cut < len(ANSWER):
                assert final.startswith((b"502", b"200")) and not whole, (cut, final)
            elif not hard:
                assert whole, final


def test_client_ends_at_every_byte(gateway):
    request = (b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
               b"GET /y HTTP/1.1\r\nHost: a\r\n\r\n")
    for cut in range(len(request) + 1):
        for how in (socket.socket.close, reset, lambda s: (s.shutdown(socket.SHUT_WR), drain(s), s.close())):
            s = connect(gateway.port)
            s.sendall(request[:cut])
            how(s)
    assert gateway.get("/x").status == 200


def test_clients_that_leave_in_the_middle(gateway):
    def big(s):
        while raw.read_head(s)[0]:
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"z" * 3000000)

    gateway.origin.script = big
    for i in range(20):
        with connect(gateway.port) as s:
            s.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            s.recv(1 + i * 997)
        with connect(gateway.port) as s:
            s.sendall(b"POST /stream/x HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + b"x" * (i * 20000))
        s = connect(gateway.port)
        s.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"x" * (i * 200))
        reset(s)
    gateway.origin.hang_up()
    gateway.origin.script = gateway.origin.answer_ok
    assert gateway.get("/x").status == 200


# ---- bodies ----

def client_tls(version):
    c = ssl.create_default_context()
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    c.minimum_version = c.maximum_version = version
    return c


@pytest.mark.parametrize("tls", [None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3],
                         ids=["plain", "TLS 1.2", "TLS 1.3"])
def test_bodies_of_all_sizes(gateway, tls):
    gateway.origin.script = echo
    with contextlib.ExitStack() as stack:
        s = stack.enter_context(connect(gateway.tls_port if tls else gateway.port))
        if tls:
            s = stack.enter_context(client_tls(tls).wrap_socket(s, server_hostname="some.test"))
        for path in (b"/x", b"/stream/x"):
            for size in (0, 1, 100, 16384, 40000, 65535, 65536, 65537, 70000, 200000, 1000000):
                body = os.urandom(size)
                s.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (path, size) + body)
                head, got, rest = raw.read_response(s)
                assert head.startswith(b"HTTP/1.1 200") and got == body and rest == b"", (path, size, head)
                chunks, at = [], 0
                for part in (1, 7, 1000, 30000, size):
                    piece = body[at:at + part]
                    at += part
                    if piece:
                        chunks.append(b"%x;a=b\r\n%s\r\n" % (len(piece), piece))
                s.sendall(b"PUT %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % path +
                          b"".join(chunks) + b"0\r\nT: 1\r\n\r\n")
                head, got, rest = raw.read_response(s)
                assert got == body and rest == b"", (path, size, head)


def test_a_retry_sends_the_whole_body_again(gateway):
    """One of the two targets is dead; failing to connect costs the client nothing."""
    gateway.origin.script = echo
    body = os.urandom(50000)
    for _ in range(6):
        assert gateway.post("/pair", body).body == body


def test_early_answers_reach_clients_that_are_still_sending(gateway):
    def refuse(s):
        raw.read_head(s)
        s.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope")

    gateway.origin.script = refuse
    for size in (100000, 1000000):
        out = raw.talk(gateway.port, b"POST /stream/x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n" + b"x" * size)
        assert out.startswith(b"HTTP/1.1 403") and out.endswith(b"nope") and b"onnection: close" in out, out[:300]


def test_answers_of_the_gateway_keep_the_connection_in_step(gateway):
    """A refused request's body is read to its end, or the connection ends."""
    follow = b"GET /x HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n"
    out = raw.talk(gateway.port, None, pieces=[b"POST /known HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345",
                                               b"67890" + follow])
    assert re.findall(rb"HTTP/1.1 (\d+)", out) == [b"401", b"200"], out
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    out = raw.talk(gateway.port, b"POST /known HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
                   % len(smuggled) + smuggled)
    assert not any(b"/smuggled" in head for head in gateway.origin.heads), out


def test_slow_bodies_are_a_408(gateway):
    for path, type_ in ((b"/x", b"text/plain"), (b"/known", b"application/x-www-form-urlencoded")):
        out = raw.talk(gateway.port, b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: 10\r\n\r\nabc"
                       % (path, type_))
        assert out.startswith(b"HTTP/1.1 408") and b"onnection: close" in out, out


# ---- floods ----

def pour(s, first, piece, limit=64 << 20):
    """Sends piece until the other side has had enough; how much that was."""
    sent = len(first)
    with contextlib.suppress(ConnectionError):
        s.sendall(first)
        while sent < limit:
            s.sendall(piece)
            sent += len(piece)
    return sent


def test_chunk_framing_is_not_kept(gateway):
    """A byte of body in a kilobyte of extension: only the byte takes memory."""
    gateway.origin.script = echo
    gateway.get("/x")
    before = memory(gateway)
    chunk = b"1;" + b"e" * 1000 + b"\r\nx\r\n"
    for path, type_ in ((b"/x", b"text/plain"), (b"/known", b"application/x-www-form-urlencoded")):
        with connect(gateway.port) as s:
            s.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % (path, type_))
            for _ in range(300):
                s.sendall(chunk * 100)
            grown = memory(gateway) - before
            s.sendall(b"0\r\n\r\n")
            head, body, _ = raw.read_response(s)
            assert (head.startswith(b"HTTP/1.1 200") and body == b"x" * 30000) or b" 401 " in head, head
        assert grown < 10 << 20, (path, grown)


@pytest.mark.parametrize("tail,piece", [
    (b"0\r\n", b"T: v\r\n" * 1000),
    (b"0\r\nT: ", b"v" * 8000),
    (b"1;", b"e" * 8000),
    (b"1", b" " * 8000),
], ids=["trailers", "a trailer", "an extension", "padding"])
def test_endless_framing_ends(gateway, tail, piece):
    chunked = b"Transfer-Encoding: chunked\r\n\r\n" + tail
    with connect(gateway.port) as s:
        assert pour(s, b"POST /x HTTP/1.1\r\nHost: a\r\n" + chunked, piece) < 32 << 20
        out = b""
        with contextlib.suppress(ConnectionError):
            out = s.recv(100)
        assert out == b"" or out.startswith(b"HTTP/1.1 400"), out
    poured = []

    def script(s):
        raw.read_head(s)
        poured.append(pour(s, b"HTTP/1.1 200 OK\r\n" + chunked, piece))

    gateway.origin.script = script
    out = raw.talk(gateway.port, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert not out.endswith(b"\r\n0\r\n\r\n"), out[-100:]
    weir.wait_until(lambda: poured and poured[0] < 32 << 20, "the origin to be cut off")


@pytest.mark.parametrize("first,piece", [
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100),
    (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 1000),
    (b"HTTP/1.1 200 OK\r\nA: ", b"b" * 8000),
    (b"HTTP/1.1 200 ", b"b" * 8000),
], ids=["100", "103", "fields", "a field", "a reason"])
def test_endless_heads_of_an_origin_are_a_502(gateway, first, piece):
    poured = []

    def script(s):
        raw.read_head(s)
        poured.append(pour(s, first, piece))

    gateway.origin.script = script
    out = raw.talk(gateway.port, b"GET /x HTTP/1.1\r\nHost: a\r\n" + CLOSE + b"\r\n")
    assert re.findall(rb"HTTP/1.1 ([2-9]\d\d)", out) == [b"502"], out[-300:]
    weir.wait_until(lambda: poured and poured[0] < 32 << 20, "the origin to be cut off")


def test_a_flood_of_pipelined_requests_waits_its_turn(gateway):
    n = 3000
    gateway.get("/x")
    before = memory(gateway)
    with connect(gateway.port) as s:
        sender = threading.Thread(target=s.sendall, args=(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * n,))
        sender.start()
        rest = b""
        for _ in range(n):
            head, body, rest = raw.read_response(s, rest)
            assert head.startswith(b"HTTP/1.1 200") and body == b"ok"
        sender.join()
    assert memory(gateway) - before < 10 << 20


# ---- readers that do not read ----

def test_a_tunnel_holds_the_faster_side_back(gateway):
    size, sent = 32 << 20, [0]

    def script(s):
        raw.read_head(s)
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        block = b"w" * 65536
        while sent[0] < size:
            s.sendall(block)
            sent[0] += len(block)
        drain(s)

    gateway.origin.script = script
    before = memory(gateway)
    with connect(gateway.port) as s:
        s.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        head, rest = raw.read_head(s)
        assert head.startswith(b"HTTP/1.1 101")
        settled = -1
        while settled != sent[0]:  # until the origin is held back
            settled = sent[0]
            time.sleep(0.2)
        assert settled < size and memory(gateway) - before < 10 << 20
        got = len(rest)
        while got < size:
            got += len(s.recv(1 << 18))
        assert got == size


def test_a_client_that_never_reads_is_let_go(gateway):
    def script(s):
        raw.read_head(s)
        pour(s, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b"z" * 65536, 1000000000)

    gateway.origin.script = script
    with connect(gateway.port) as s:
        s.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        weir.wait_until(lambda: gateway.origin.open, "the request at the origin")
        weir.wait_until(lambda: not gateway.origin.open, "the origin's connection to be closed")
        assert len(drain(s)) < 1000000000


# ---- what an origin says too much ----

@pytest.mark.parametrize("request_line,answer", [
    (b"HEAD /x", b"HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n"),
    (b"GET /x", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 44\r\n\r\n"),
    (b"GET /x", b"HTTP/1.1 204 No Content\r\n\r\n"),
    (b"GET /x", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    (b"GET /x", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
], ids=["HEAD", "304", "204", "length", "chunked"])
def test_bytes_behind_an_answer_are_nobodys(gateway, request_line, answer):
    """RFC 9112 section 6.3: they are not the answer to the next request."""
    gateway.origin.answer = answer + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    with connect(gateway.port) as s:
        for _ in range(10):
            s.sendall(request_line + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            head, body, rest = raw.read_response(s, head_only=request_line.startswith(b"HEAD"))
            assert head.split()[1] == answer.split()[1] and b"evil" not in body + rest


def test_nobody_can_take_away_what_a_plugin_adds(gateway):
    """RFC 9110 section 7.6.1: Connection names fields of its sender, not ours."""
    out = raw.talk(gateway.port, b"GET /known HTTP/1.1\r\nHost: a\r\napikey: secret\r\nX-Mine: 1\r\nX-Consumer-Username: bob\r\n"
                   b"Connection: close, X-Consumer-Username, X-Consumer-ID, X-Mine\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 200"), out
    head = gateway.origin.heads[0]
    assert b"X-Consumer-Username: alice\r\n" in head and b"X-Consumer-ID: " in head
    assert b"bob" not in head and b"X-Mine" not in head


def test_an_end_announced_by_tls_is_an_end(gateway):
    """close_notify ends a body without length, also while the socket stays open and silent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{gateway.certs}/cp.crt", f"{gateway.certs}/cp.key")
    seen = threading.Event()

    def script(s):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)

        def until_done(call):
            while True:
                try:
                    return call()
                except ssl.SSLWantReadError:
                    s.sendall(outgoing.read())
                    part = s.recv(65536)
                    assert part
                    incoming.write(part)

        until_done(tls.do_handshake)
        until_done(lambda: tls.read(65536))
        tls.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        s.sendall(outgoing.read())  # data and close_notify arrive as one
        seen.wait(2 * weir.PATIENCE)

    gateway.secure.script = script
    with connect(gateway.port) as s:
        s.sendall(b"GET /secure HTTP/1.1\r\nHost: a\r\n\r\n")
        head, body, _ = raw.read_response(s)
    seen.set()
    assert head.startswith(b"HTTP/1.1 200") and body == b"hello"


# ---- many ----

def test_idle_connections_are_cheap_and_all_go(gateway):
    gateway.get("/x")
    gateway.origin.hang_up()
    n = min(3000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
    files, before = descriptors(gateway), memory(gateway)
    clients = [connect(gateway.port) for _ in range(n)]
    weir.wait_until(lambda: descriptors(gateway) >= files + n, "all connections")
    assert (memory(gateway) - before) / n < 4096
    assert gateway.get("/x").status == 200
    for s in clients:
        s.close()
    gateway.origin.hang_up()
    weir.wait_until(lambda: descriptors(gateway) <= files + 2, "all descriptors to be closed")


def test_running_out_of_descriptors_is_survived(gateway):
    pid = gateway.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    clients = []
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (descriptors(gateway) + 20, hard))
    try:
        clients = [connect(gateway.port) for _ in range(60)]  # most of them wait in the backlog
        clients += [connect(gateway.status_port) for _ in range(3)]
        for s in clients[:20]:
            s.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        for event in (" accept ", " status_accept "):
            weir.wait_until(lambda e=event: re.search(e + ".*errno=24", gateway.log()), "the limit to be met")
        assert len(gateway.log()) < 100000  # no listener spins
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        for s in clients:
            s.close()
    weir.wait_until(lambda: gateway.get("/x").status == 200, "service as before")
    assert gateway.status()["server"]


# ---- the end ----

def test_draining_ends_connections_with_their_answer(gateway, tmp_path):
    """An idle one at once; a busy one behind the last answer under way, which says so."""
    dp = weir.DataPlane(str(tmp_path), declarative=gateway.file, workers=1)
    dp.start()
    arrived, go = threading.Event(), threading.Event()

    def script(s):
        while raw.read_head(s)[0]:
            arrived.set()
            go.wait(weir.PATIENCE)
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    gateway.origin.script = script
    with connect(dp.port) as s, connect(dp.port) as idle:
        s.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n")
        assert arrived.wait(weir.PATIENCE)
        dp.process.terminate()
        assert idle.recv(1) == b""  # the end has begun
        go.set()
        out = drain(s)
        assert out.count(b"HTTP/1.1 200") == 2
        assert b"onnection: close" not in out[:out.rindex(b"HTTP/1.1 200")] and b"onnection: close" in out
    dp.stop()
