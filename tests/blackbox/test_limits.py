"""What the gateway bounds: each limit is met once, and counted once under its own name."""
import contextlib
import os
import re
import resource
import select
import socket
import time

import pytest
import raw
import tcp
import weir

HERE = os.path.dirname(os.path.abspath(__file__))
GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a.test\r\n"
PER_ADDRESS = 3
FLAGS = ("--client-max-uri-bytes", "256", "--client-max-header-bytes", "2k", "--client-max-header-fields", "20",
         "--client-max-body-bytes", "2m", "--client-max-requests", "2", "--upstream-max-header-bytes", "2k",
         "--client-max-connections-per-address", PER_ADDRESS, "--client-header-timeout", "1s",
         "--client-body-timeout", "1s", "--client-write-timeout", "1s", "--client-idle-timeout", "1s", "--client-min-body-rate", "1m")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    origin, folder = raw.Origin(), str(tmp_path_factory.mktemp("limits"))
    file = os.path.join(folder, "weir.yaml")
    with open(file, "w") as f:
        f.write(f"""
_format_version: "3.0"
services:
- name: origin
  url: {origin.url}
  retries: 0
  routes:
  - {{name: all, paths: ["/"]}}
  - {{name: echo, paths: ["/echo"], plugins: [{{name: request-termination, config: {{echo: true}}}}]}}
""")
    dp = weir.DataPlane(folder, *FLAGS, declarative=file, workers=1)
    dp.start()
    dp.origin = origin
    yield dp
    dp.stop()
    origin.close()


def hits(dp):
    found = re.findall(r'^weir_limit_hits_total\{limit="(\w+)"\} (\d+)', dp.metrics(), re.M)
    return {name: int(n) for name, n in found}


def connect(dp, address="127.0.0.1"):
    return socket.create_connection(("127.0.0.1", dp.port), timeout=weir.PATIENCE, source_address=(address, 0))


def answered(dp, data, status):
    out = raw.talk(dp.port, data)
    assert out.startswith(b"HTTP/1.1 %d" % status) and b"Connection: close" in out, out


def closed(dp, data):
    assert raw.talk(dp.port, data) == b""


def slow_body(dp):
    """Bytes come all the time, but too few of them."""
    with connect(dp) as s:
        s.sendall(POST + b"Content-Length: 1000000\r\n\r\n")
        end = time.monotonic() + weir.PATIENCE
        while not select.select([s], [], [], 0.05)[0]:
            assert time.monotonic() < end, "nobody minds"
            s.sendall(b"x")
        assert s.recv(65536).startswith(b"HTTP/1.1 408")


def blind_reader(dp):
    def pour(s):
        raw.read_head(s)
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                s.sendall(b"x" * 65536)

    dp.origin.script = pour
    with connect(dp) as s:
        s.sendall(GET + b"\r\n")
        weir.wait_until(lambda: hits(dp).get("client_write_timeout"), "the end of patience")


def large_answer(dp):
    dp.origin.answer = b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * 3000 + b"\r\nContent-Length: 0\r\n\r\n"
    assert raw.talk(dp.port, GET + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 502")


def large_form(dp):
    """What it says, told again, has no room beside what is decoded of it."""
    body = b"a=" + b"+" * ((1 << 20) - 2)
    answer = dp.post("/echo", body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 500, answer.text[:200]


def many_connections(dp):
    with contextlib.ExitStack() as stack:
        kept = [stack.enter_context(connect(dp, "127.0.0.9")) for _ in range(PER_ADDRESS)]
        for s in kept:
            s.sendall(GET + b"\r\n")
            assert s.recv(65536).startswith(b"HTTP/1.1 200")
        with connect(dp, "127.0.0.9") as s:
            assert tcp.read_all(s) == b""
        with connect(dp, "127.0.0.8") as s:  # somebody else
            s.sendall(GET + b"\r\n")
            assert s.recv(65536).startswith(b"HTTP/1.1 200")
        hit = hits(dp)
        kept[0].close()

        def again():  # there is room when one has closed
            with contextlib.suppress(ConnectionError), connect(dp, "127.0.0.9") as s:
                s.sendall(GET + b"\r\n")
                return s.recv(65536).startswith(b"HTTP/1.1 200")

        weir.wait_until(again, "room for another")
    return hit


def no_descriptors(dp):
    pid = dp.process.pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    open_now = len(os.listdir(f"/proc/{pid}/fd"))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now, hard))
    try:
        with connect(dp) as s:
            weir.wait_until(lambda: " accept " in dp.log(), "the limit to be met")
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
            s.sendall(GET + b"Connection: close\r\n\r\n")
            assert tcp.read_all(s).startswith(b"HTTP/1.1 200")
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


CASES = {
    "client_max_uri_bytes": lambda dp: answered(dp, b"GET /" + b"x" * 300 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "client_max_header_bytes": lambda dp: answered(dp, GET + b"X-A: " + b"x" * 3000 + b"\r\n\r\n", 400),
    "client_max_header_fields": lambda dp: answered(dp, GET + b"X-A: b\r\n" * 20 + b"\r\n", 400),
    "client_max_body_bytes": lambda dp: answered(dp, POST + b"Content-Length: 2097153\r\n\r\n", 413),
    "client_min_body_rate": slow_body,
    "client_max_requests": lambda dp: answered(dp, GET + b"\r\n" + GET + b"\r\n", 200),
    "client_max_connections_per_address": many_connections,
    "client_idle_timeout": lambda dp: closed(dp, b""),
    "client_header_timeout": lambda dp: answered(dp, GET, 408),
    "client_body_timeout": lambda dp: answered(dp, POST + b"Content-Length: 10\r\n\r\nabc", 408),
    "client_write_timeout": blind_reader,
    "upstream_max_header_bytes": large_answer,
    "exchange_memory": large_form,
    "file_descriptors": no_descriptors,
}

def test_every_limit_has_a_case():
    with open(os.path.join(HERE, "../../dataplane/observe/limits.h")) as f:
        assert set(re.findall(r'X\(LIMIT_\w+, "(\w+)"\)', f.read())) == set(CASES)


@pytest.mark.parametrize("limit", CASES)
def test_limit_is_counted(gateway, limit):
    gateway.origin.hang_up()
    gateway.origin.script = gateway.origin.answer_ok
    gateway.origin.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    before = hits(gateway)
    after = CASES[limit](gateway) or hits(gateway)
    risen = {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name, 0)}
    if limit == "file_descriptors":  # the listener tries again and again
        risen[limit] = min(risen.get(limit, 0), 1)
    assert risen == {limit: 1}
