"""HTTP/1.1 under splits, sizes, closing and noise. What each message means is in rfc9112/."""
import os
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
