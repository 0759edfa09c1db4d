"""HTTP/1.1 over raw sockets, both sides observed. Every case names its section of RFC 9110/9112."""
import os
import re
import socket
import time

import pytest
import raw
import weir


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    origin = raw.Origin()
    file = os.path.join(str(tmp_path_factory.mktemp("http1")), "weir.yaml")
    with open(file, "w") as f:
        f.write(f"""
_format_version: "3.0"
services:
- name: origin
  url: {origin.url}
  read_timeout: 60000
  routes:
  - {{name: all, paths: ["/"], preserve_host: true}}
  - {{name: unbuffered, paths: ["/stream"], request_buffering: false, response_buffering: false, strip_path: false}}
- name: once
  url: {origin.url}
  retries: 0
  routes:
  - {{name: once, paths: ["/once"]}}
- name: slow
  url: {origin.url}
  retries: 0
  read_timeout: 300
  routes:
  - {{name: slow, paths: ["/slow"]}}
- name: dead
  url: http://127.0.0.1:1
  retries: 1
  routes:
  - {{name: dead, paths: ["/dead"]}}
""")
    dp = weir.DataPlane(os.path.dirname(file), "--client-header-timeout", "2s", declarative=file)
    dp.start()
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


OK = b"Host: a.test\r\n"

# name, request bytes: each is refused with 400 and a closed connection, and never reaches the origin
REFUSED = [
    ("9112-3.2 no Host", b"GET / HTTP/1.1\r\n\r\n"),
    ("9112-3.2 two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    ("9112-3.2 bad Host", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("9112-3.2 Host with path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("9112-3.2 Host with user", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ("9112-3.2 Host with bad port", b"GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
    ("9112-2.2 bare LF in head", b"GET / HTTP/1.1\nHost: a\n\n"),
    ("9112-2.2 bare CR in field", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
    ("9112-2.2 space before first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    ("9112-5.1 space before colon", b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n"),
    ("9112-5.1 empty field name", b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
    ("9112-5.1 no colon", b"GET / HTTP/1.1\r\nHost: a\r\nXb\r\n\r\n"),
    ("9112-5.2 folded line", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
    ("9110-5.1 byte outside token in name", b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: b\r\n\r\n"),
    ("9110-5.5 NUL in value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    ("9110-5.5 control in value", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n"),
    ("9112-3 two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112-3 tab", b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112-3 no version", b"GET /\r\nHost: a\r\n\r\n"),
    ("9112-3 space in target", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112-3 control in target", b"GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112-3 bad method", b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112-3.2 target without slash", b"GET foo HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9112-2.3 lower-case protocol", b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    ("9112-2.3 HTTP/1.10", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    ("9112-6.3 length and chunked", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("9112-6.3 two lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na"),
    ("9112-6.3 list of lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\na"),
    ("9110-8.6 signed length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na"),
    ("9110-8.6 negative length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\na"),
    ("9110-8.6 hexadecimal length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na"),
    ("9110-8.6 huge length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\na"),
    ("9110-8.6 empty length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\na"),
    ("9112-6.1 chunked not last", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("9112-6.1 chunked twice", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("9112-6.1 two fields", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("9112-6.1 xchunked", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("9112-6.1 chunked in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("9112-6.1 vertical tab", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    ("9110-4.2.4 bad percent escape", b"GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9110-4.2.4 cut percent escape", b"GET /a%4 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9110-4.2.4 encoded NUL", b"GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("9110-4.2.4 above the root", b"GET /../x HTTP/1.1\r\nHost: a\r\n\r\n"),
]


@pytest.mark.parametrize("data", [c[1] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_ambiguous_heads_are_refused(proxy, data):
    out = raw.talk(proxy.port, data + b"GET /smuggled HTTP/1.1\r\n" + OK + b"\r\n")
    assert out.startswith(b"HTTP/1.1 400 "), out[:300]
    assert out.count(b"HTTP/1.1 ") == 1, out
    assert b"onnection: close" in out
    assert not proxy.origin.heads


BAD_CHUNKS = [
    ("size is not hexadecimal", b"g\r\nx\r\n0\r\n\r\n"),
    ("size with sign", b"+1\r\nx\r\n0\r\n\r\n"),
    ("size with 0x", b"0x1\r\nx\r\n0\r\n\r\n"),
    ("empty size", b"\r\nx\r\n0\r\n\r\n"),
    ("huge size", b"fffffffffffffffff\r\nx\r\n0\r\n\r\n"),
    ("bare LF behind size", b"1\nx\r\n0\r\n\r\n"),
    ("no CRLF behind data", b"1\r\nxy\r\n0\r\n\r\n"),
    ("space before size", b" 1\r\nx\r\n0\r\n\r\n"),
    ("NUL in extension", b"1;a=\0\r\nx\r\n0\r\n\r\n"),
    ("LF in extension", b"1;a\nb\r\nx\r\n0\r\n\r\n"),
    ("bad trailer", b"1\r\nx\r\n0\r\nfoo\r\n\r\n"),
]


@pytest.mark.parametrize("chunks", [c[1] for c in BAD_CHUNKS], ids=[c[0] for c in BAD_CHUNKS])
def test_bad_chunks_end_the_connection(proxy, chunks):
    """RFC 9112 section 7.1: what is not a chunk never becomes the next request."""
    out = raw.talk(proxy.port, b"POST /p HTTP/1.1\r\n" + OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks +
                   b"GET /smuggled HTTP/1.1\r\n" + OK + b"\r\n")
    assert out.count(b"HTTP/1.1 ") <= 1
    assert b"HTTP/1.1 200" not in out or b"onnection: close" in out
    assert not any(b"/smuggled" in head for head in proxy.origin.heads)


GOOD = [
    ("9112-2.2 empty line before the request", b"\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", rb"^GET /a HTTP/1.1\r\n"),
    ("9112-3.2.2 absolute-form wins over Host", b"GET http://b.test/a?q HTTP/1.1\r\nHost: a\r\n\r\n",
     rb"^GET /a\?q HTTP/1.1\r\n(.*\r\n)*Host: b.test\r\n"),
    ("9112-3.2.4 OPTIONS", b"OPTIONS /a HTTP/1.1\r\nHost: a\r\n\r\n", rb"^OPTIONS /a HTTP/1.1"),
    ("9110-9.1 unknown method", b"FROB /a HTTP/1.1\r\nHost: a\r\n\r\n", rb"^FROB /a HTTP/1.1"),
    ("9112-5 value trimmed", b"GET /a HTTP/1.1\r\nHost: a\r\nX-A: \t b c \t\r\n\r\n", rb"X-A: b c\r\n"),
    ("9112-5 empty value", b"GET /a HTTP/1.1\r\nHost: a\r\nX-A:\r\n\r\n", rb"X-A: ?\r\n"),
    ("9110-5.3 repeated fields in order", b"GET /a HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: x\r\nX-A: 2\r\n\r\n",
     rb"X-A: 1\r\n(.*\r\n)*X-A: 2\r\n"),
    ("9110-5.5 bytes above 127 in values", b"GET /a HTTP/1.1\r\nHost: a\r\nX-A: \xe9\r\n\r\n", rb"X-A: \xe9\r\n"),
    ("query kept to the byte", b"GET /a?x=%2f&&y=a+b%%?/# HTTP/1.1\r\nHost: a\r\n\r\n".replace(b"#", b""), rb"^GET /a\?x=%2f&&y=a\+b%%\?/ HTTP"),
    ("empty query kept", b"GET /a? HTTP/1.1\r\nHost: a\r\n\r\n", rb"^GET /a\? HTTP"),
    ("9112-6.3 same length twice in one list is one", b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
     rb"Content-Length: 1\r\n"),
    ("9112-7.1 chunked", b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=\"q\"\r\nabc\r\n0\r\nT: v\r\n\r\n",
     rb"(Transfer-Encoding: chunked|Content-Length: 3)\r\n"),
    ("9112-6.1 TE in any case", b"POST /a HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n",
     rb"(?i)(Transfer-Encoding: chunked|Content-Length: 0)\r\n"),
    ("9112-2.3 HTTP/1.0 without Host", b"GET /a HTTP/1.0\r\n\r\n", rb"^GET /a HTTP/1.1\r\n"),
    ("9110-7.6.1 hop-by-hop fields end here",
     b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX-Stay: 1\r\n\r\n",
     rb"^(?!(.*\r\n)*X-Hop: )(?!(.*\r\n)*Keep-Alive: )GET /a(.*\r\n)*X-Stay: 1\r\n"),
    ("9110-7.8 other upgrades are not forwarded", b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
     rb"^(?!(.*\r\n)*[Uu]pgrade: )GET /a"),
]


@pytest.mark.parametrize("data,wanted", [c[1:] for c in GOOD], ids=[c[0] for c in GOOD])
def test_good_requests_arrive(proxy, data, wanted):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE) as s:
        s.sendall(data)
        head, body, rest = raw.read_response(s)
        assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")), head
        assert body == b"ok" and rest == b""
    assert len(proxy.origin.heads) == 1
    assert re.search(wanted, proxy.origin.heads[0]), proxy.origin.heads[0]


def test_pipelined_requests_are_answered_in_order(proxy):
    """RFC 9112 section 9.3.2."""
    def script(s):
        rest = b""
        while True:
            while b"\r\n\r\n" not in rest:
                part = s.recv(65536)
                if not part:
                    return
                rest += part
            head, _, rest = rest.partition(b"\r\n\r\n")
            name = head.split()[1]
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name))

    proxy.origin.script = script
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE) as s:
        s.sendall(b"".join(b"GET /n%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(50)))
        rest = b""
        for i in range(50):
            _, body, rest = raw.read_response(s, rest)
            assert body == b"/n%d" % i


def test_every_split_of_a_request_means_the_same(proxy):
    data = b"POST /a HTTP/1.1\r\nHost: a\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    for at in range(1, len(data)):
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.sendall(data[:at])
            if at % 8 == 0:
                time.sleep(0.001)  # let some of the halves arrive apart
            s.sendall(data[at:])
            head, body, _ = raw.read_response(s)
            assert head.startswith(b"HTTP/1.1 200") and body == b"ok", (at, head)


def test_head_and_no_content_have_no_body(proxy):
    """RFC 9112 section 6.3."""
    proxy.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE) as s:
        for _ in range(3):
            s.sendall(b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n")
            head, _, rest = raw.read_response(s, head_only=True)
            assert b"Content-Length: 1000" in head and rest == b""
        proxy.origin.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        s.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        head, _, rest = raw.read_response(s)
        assert head.startswith(b"HTTP/1.1 204") and rest == b""
        assert b"ransfer-" not in head
        proxy.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        s.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.read_response(s)[1] == b"ok"


BAD_ANSWERS = [
    ("9112-6.3 two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
    ("9112-6.3 length and chunked", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("9112-4 no HTTP", b"SMTP ready\r\n\r\n"),
    ("9112-4 bad status", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    ("9112-5.1 space before colon", b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
    ("9112-2.2 bare LF", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    ("9110-5.5 NUL", b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n"),
    ("closed before an answer", b""),
    ("closed in the head", b"HTTP/1.1 200 OK\r\nContent-Le"),
]


@pytest.mark.parametrize("answer", [c[1] for c in BAD_ANSWERS], ids=[c[0] for c in BAD_ANSWERS])
def test_what_an_origin_may_not_say_is_a_502(proxy, answer):
    def script(s):
        raw.read_head(s)
        s.sendall(answer)

    proxy.origin.script = script
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE) as s:
        s.sendall(b"GET /once HTTP/1.1\r\nHost: a\r\n\r\n")
        head, body, _ = raw.read_response(s)
    assert head.startswith(b"HTTP/1.1 502 "), head
    assert b"An invalid response was received from the upstream server" in body


def test_an_answer_cut_short_is_not_passed_off_as_whole(proxy):
    """RFC 9112 section 8."""
    def script(s):
        raw.read_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")

    proxy.origin.script = script
    out = raw.talk(proxy.port, b"GET /once HTTP/1.1\r\nHost: a\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 200") and b"Content-Length: 100" in out
    assert out.endswith(b"only this")  # and then the connection ended

    def chunked(s):
        raw.read_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")

    proxy.origin.hang_up()
    proxy.origin.script = chunked
    out = raw.talk(proxy.port, b"GET /once HTTP/1.1\r\nHost: a\r\n\r\n")
    assert not out.endswith(b"0\r\n\r\n")


def test_an_answer_ended_by_close_is_framed_for_the_client(proxy):
    def script(s):
        raw.read_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nhello")

    proxy.origin.script = script
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE) as s:
        s.sendall(b"GET /once HTTP/1.1\r\nHost: a\r\n\r\n")
        head, body, _ = raw.read_response(s)
        assert body == b"hello"
        s.sendall(b"GET /once HTTP/1.1\r\nHost: a\r\n\r\n")
        assert raw.read_response(s)[1] == b"hello"
    # HTTP/1.0 clients know no chunks
    out = raw.talk(proxy.port, b"GET /once HTTP/1.0\r\nHost: a\r\n\r\n")
    assert b"chunked" not in out and out.endswith(b"\r\n\r\nhello")


def test_expect_100_continue(proxy):
    """RFC 9110 section 10.1.1: the client waits for the go-ahead, the body arrives once."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE) as s:
        s.sendall(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        head, rest = raw.read_head(s)
        assert head == b"HTTP/1.1 100 Continue\r\n\r\n" and rest == b""
        s.sendall(b"hello")
        head, body, _ = raw.read_response(s)
        assert head.startswith(b"HTTP/1.1 200") and body == b"ok"


def test_interim_answers_pass(proxy):
    """RFC 9110 section 15.2: 103 reaches the client before the final answer."""
    proxy.origin.answer = (b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
                           b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE) as s:
        s.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        head, _, rest = raw.read_response(s)
        assert head.startswith(b"HTTP/1.1 103") and b"Link: </a.css>" in head
        head, body, _ = raw.read_response(s, rest)
        assert head.startswith(b"HTTP/1.1 200") and body == b"ok"


def test_large_bodies_go_both_ways(proxy):
    """4 MB up and down, with and without chunks; memory is bounded elsewhere."""
    size = 4 << 20

    def script(s):
        head, rest = raw.read_head(s)
        got = len(rest)
        while got < size:
            part = s.recv(1 << 20)
            assert part
            got += len(part)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        s.sendall(b"x" * size)

    proxy.origin.script = script
    for path in ("/a", "/stream/a"):
        answer = proxy.post(path, b"y" * size)
        assert answer.status == 200 and answer.body == b"x" * size


def test_websocket_tunnel(proxy):
    """RFC 6455 section 1.3: after 101 the bytes are opaque, both ways, until either side ends."""
    def script(s):
        head, _ = raw.read_head(s)
        proxy.origin.heads.append(head)
        s.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        while part := s.recv(65536):
            s.sendall(part[::-1])

    proxy.origin.script = script
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE) as s:
        s.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        head, rest = raw.read_head(s)
        assert head.startswith(b"HTTP/1.1 101") and b"pgrade: websocket" in head
        while len(rest) < 5:
            rest += s.recv(100)
        assert rest == b"hello"
        for text in (b"abc", b"\0\xff" * 40000):
            s.sendall(text)
            got = b""
            while len(got) < len(text):
                got += s.recv(65536)
            assert sorted(got) == sorted(text)
    assert re.search(rb"Connection: keep-alive, Upgrade\r\n", proxy.origin.heads[0])


def test_slow_heads_time_out(proxy):
    """RFC 9110 section 15.5.9."""
    began = time.monotonic()
    out = raw.talk(proxy.port, b"GET / HTTP/1.1\r\nHost:")
    assert out.startswith(b"HTTP/1.1 408"), out
    assert 1 < time.monotonic() - began < weir.PATIENCE


def test_slow_origins_are_a_504(proxy):
    def script(s):
        raw.read_head(s)
        s.recv(1)

    proxy.origin.script = script
    answer = proxy.get("/slow", headers={"Accept": "application/json"})
    assert answer.status == 504
    assert answer["message"] == "The upstream server is timing out"


def test_dead_origins_are_a_502(proxy):
    answer = proxy.get("/dead", headers={"Accept": "application/json"})
    assert answer.status == 502
    assert answer["message"] == "An invalid response was received from the upstream server"


def test_limits_of_the_head(proxy):
    big = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n"
    out = raw.talk(proxy.port, big)
    assert out.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")), out[:200]
    many = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: a\r\n" % i for i in range(20000)) + b"\r\n"
    out = raw.talk(proxy.port, many)
    assert out.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")), out[:200]
    out = raw.talk(proxy.port, b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 414"), out[:200]
    assert proxy.get("/a").status == 200


def test_upstream_connections_are_kept(proxy):
    before = proxy.origin.connections
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=weir.PATIENCE) as s:
        for _ in range(100):
            s.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
            raw.read_response(s)
    assert proxy.origin.connections - before <= 1


def test_a_kept_connection_that_the_origin_closed_costs_no_request(proxy):
    def script(s):
        for _ in range(3):  # then it hangs up, while the pool still holds the connection
            head, _ = raw.read_head(s)
            if not head:
                return
            s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    proxy.origin.script = script
    for i in range(60):
        assert proxy.get(f"/a{i}").status == 200


def test_noise_is_survived(proxy):
    import random
    dice = random.Random(3)
    for _ in range(100):
        raw.talk(proxy.port, dice.randbytes(dice.randrange(1, 3000)), half_close=True)
        raw.talk(proxy.tls_port, dice.randbytes(dice.randrange(1, 3000)), half_close=True)
    assert proxy.get("/a").status == 200
