"""TCP and TLS streams through a data plane: which route, whose certificate, and every byte."""
import contextlib
import os
import select
import signal
import socket
import ssl
import struct
import threading

import pytest
import tcp
import tls_tools
import weir

MEGABYTE = 1 << 20
LISTENERS = ("echo", "pool", "dead", "empty", "secure", "verified", "nowhere", "silent", "blocked", "hanging", "named",
             "unnamed")


def config(g, echo_port):
    """The declarative file. Plain routes are told apart by the listener's port."""
    def route(name):
        return f'{{name: {name}, protocols: [tcp], destinations: [{{port: {g.ports[name]}}}]}}'
    return f"""
_format_version: "3.0"
services:
- {{name: echo, protocol: tcp, host: 127.0.0.1, port: {echo_port}, routes: [{route("echo")}]}}
- {{name: pool, protocol: tcp, host: pool, retries: 3, routes: [{route("pool")}]}}
- {{name: dead, protocol: tcp, host: 127.0.0.1, port: {g.nobody}, retries: 2, routes: [{route("dead")}]}}
- {{name: silent, protocol: tcp, host: 127.0.0.1, port: {echo_port}, read_timeout: 300, routes: [{route("silent")}]}}
- {{name: blocked, protocol: tcp, host: 127.0.0.1, port: {g.sink.port}, write_timeout: 300, routes: [{route("blocked")}]}}
- {{name: hanging, protocol: tcp, host: 127.0.0.1, port: {g.hanging.getsockname()[1]}, connect_timeout: 200, retries: 1, routes: [{route("hanging")}]}}
- {{name: named, protocol: tcp, host: localhost, port: {echo_port}, routes: [{route("named")}]}}
- {{name: unnamed, protocol: tcp, host: nobody.invalid, port: {echo_port}, connect_timeout: 2000, routes: [{route("unnamed")}]}}
- {{name: verified, protocol: tls, host: 127.0.0.1, port: {g.secure.port}, tls_verify: true, retries: 0, routes: [{route("verified")}]}}
- {{name: http, url: "http://127.0.0.1:{echo_port}", routes: [{{name: http, paths: [/]}}]}}
- name: secure
  protocol: tls
  host: 127.0.0.1
  port: {g.secure.port}
  routes:
  - {route("secure")}
  - {{name: both, protocols: [tls], snis: [both.test]}}
- name: ended
  protocol: tcp
  host: 127.0.0.1
  port: {echo_port}
  routes:
  - {{name: exact, protocols: [tls], snis: [exact.test]}}
  - {{name: wild, protocols: [tls], snis: ["*.wild.test"]}}
- name: passed
  protocol: tcp
  host: 127.0.0.1
  port: {g.secure.port}
  routes:
  - {{name: through, protocols: [tls_passthrough], snis: [through.test, "*.through.test"]}}
routes:
- {route("empty")}
plugins:
- {{name: prometheus, protocols: [tcp, tls], config: {{status_code_metrics: true, bandwidth_metrics: true}}}}
- {{name: request-termination, config: {{status_code: 403}}}}
upstreams:
- name: pool
  targets:
  - {{target: "127.0.0.1:{g.nobody}", weight: 100}}
  - {{target: "127.0.0.1:{echo_port}", weight: 100}}
"""


class Gateway(weir.DataPlane):
    def __init__(self, folder, *flags):
        self.certs = weir.make_certs(os.path.join(folder, "certs"))
        self.file = os.path.join(folder, "weir.yaml")
        self.echo = tcp.Server(tcp.echo)
        self.sink = tcp.Server(lambda s: self.hold.wait(weir.PATIENCE))
        self.hold = threading.Event()
        self.secure = tcp.Server(tcp.echo, tcp.server_context(f"{self.certs}/cp.crt", f"{self.certs}/cp.key"))
        self.hanging = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.filling = [socket.socket() for _ in range(3)]
        for s in self.filling:  # what the queue does not hold waits for ever
            s.setblocking(False)
            s.connect_ex(self.hanging.getsockname())
        *listeners, self.ssl_port, self.nobody = weir.free_ports(len(LISTENERS) + 2)
        self.ports = dict(zip(LISTENERS, listeners))
        self.write(config(self, self.echo.port))
        addresses = [f"127.0.0.1:{port}" for port in listeners] + [f"127.0.0.1:{self.ssl_port} ssl"]
        super().__init__(folder, "--stream-listen", ", ".join(addresses), "--ssl-cert", f"{self.certs}/dp.crt",
                         "--ssl-cert-key", f"{self.certs}/dp.key", "--client-header-timeout", "1s", *flags,
                         declarative=self.file)
        self.env["RES_OPTIONS"] = "timeout:1 attempts:1"  # a name is still looked up when all else has ended

    def write(self, text):
        with open(self.file, "w") as f:
            f.write(text)

    def metric(self, name, **labels):
        return tcp.metric(self.metrics(), name, **labels)

    def quiet(self):
        """No stream is left of what came before, which may end a moment later than its client sees."""
        weir.wait_until(lambda: self.metric("weir_exchanges") == 0, "no stream left")

    def streams(self, status):
        return self.metric("weir_streams_total", status=status)

    def connect(self, name):
        return tcp.connect(self.ports[name])

    def connect_tls(self, name):
        return tcp.connect_tls(self.ssl_port, name)

    def rss(self):
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * 4096


@pytest.fixture(scope="module")
def g(tmp_path_factory):
    gateway = Gateway(str(tmp_path_factory.mktemp("stream")))
    gateway.start()
    yield gateway
    gateway.hold.set()
    gateway.stop()
    for server in (gateway.echo, gateway.sink, gateway.secure):
        server.close()


def der(path):
    with open(path) as f:
        return ssl.PEM_cert_to_DER_cert(f.read().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")


def reset(s):
    """Closes with a reset."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


# ---- plain ----

def test_bytes_both_ways_and_half_close(g):
    g.quiet()
    before = g.streams(200), g.metric("weir_stream_received_bytes_total"), g.metric("weir_stream_sent_bytes_total")
    with g.connect("echo") as s:
        for message in (b"a", b"hello", b"\0" * 1000):
            s.sendall(message)
            assert tcp.read_exactly(s, len(message)) == message
        s.sendall(b"last")
        tcp.finish(s)
        assert tcp.read_all(s) == b"last"
    weir.wait_until(lambda: g.streams(200) == before[0] + 1, "the stream's end")
    assert g.metric("weir_stream_received_bytes_total") == before[1] + 1010
    assert g.metric("weir_stream_sent_bytes_total") == before[2] + 1010


def test_the_upstream_may_speak_first_and_end_first(tmp_path):
    def greet(s):
        s.sendall(b"220 ready\r\n")
        s.shutdown(socket.SHUT_WR)
        heard.append(tcp.read_all(s))

    heard = []
    server = tcp.Server(greet)
    gateway = Gateway(str(tmp_path))
    gateway.write(config(gateway, server.port))
    gateway.start()
    with gateway.connect("echo") as s:
        assert tcp.read_all(s) == b"220 ready\r\n"  # its side is closed, ours is not
        s.sendall(b"still here")
        tcp.finish(s)
        weir.wait_until(lambda: heard == [b"still here"], "the bytes behind the upstream's end")
    gateway.stop()
    server.close()


@pytest.mark.parametrize("kind", ["plain", "ended", "upstream", "both", "through"])
def test_large_transfers(g, kind):
    """Far more than all buffers hold, while the client reads late."""
    s = {"plain": lambda: g.connect("echo"), "upstream": lambda: g.connect("secure"),
         "ended": lambda: g.connect_tls("exact.test"), "both": lambda: g.connect_tls("both.test"),
         "through": lambda: g.connect_tls("through.test")}[kind]()
    data = os.urandom(MEGABYTE) * 16
    with s:
        sender = threading.Thread(target=s.sendall, args=(data,))
        if isinstance(s, ssl.SSLSocket):  # one thread at a time: Python locks nothing for us
            s.setblocking(False)
            sent, got = 0, bytearray()
            while len(got) < len(data):
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    if sent < len(data):
                        sent += s.send(data[sent:sent + 65536])
                with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    part = s.recv(1 << 20)
                    assert part
                    got += part
                    continue
                select.select([s], [s] if sent < len(data) else [], [], 1)
        else:
            sender.start()
            got = tcp.read_exactly(s, len(data))
            sender.join()
    assert got == data


def test_a_slow_reader_stops_its_writer(g):
    """Nothing piles up in the gateway while nobody reads."""
    g.quiet()
    data = b"x" * (64 * MEGABYTE)
    with g.connect("echo") as s:
        before = g.rss()
        sender = threading.Thread(target=s.sendall, args=(data,))
        sender.start()
        moved = -1
        while moved != (now := g.metric("weir_stream_received_bytes_total")):
            moved = now
            sender.join(0.2)
        assert sender.is_alive()
        assert g.rss() - before < (16 * MEGABYTE if not weir.SANITIZED else 64 * MEGABYTE)
        assert tcp.read_exactly(s, len(data)) == data
        sender.join()


def test_many_connections_at_once(g):
    g.quiet()
    before = g.streams(200)
    sockets = [g.connect(("echo", "pool")[i % 2]) for i in range(300)]
    for i, s in enumerate(sockets):
        s.sendall(b"%d" % i)
    for i, s in enumerate(sockets):
        assert tcp.read_exactly(s, len(b"%d" % i)) == b"%d" % i
    for s in sockets:
        s.close()
    weir.wait_until(lambda: g.streams(200) == before + 300, "the ends of all")
    g.quiet()


def test_a_client_that_resets(g):
    closed = threading.Event()

    def handle(s):
        tcp.read_all(s)
        closed.set()
    g.echo.handle = handle
    g.quiet()
    try:
        s = g.connect("echo")
        s.sendall(b"bye")
        weir.wait_until(lambda: g.metric("weir_exchanges") == 1, "the stream")
        reset(s)
        assert closed.wait(weir.PATIENCE)
    finally:
        g.echo.handle = tcp.echo
    g.quiet()


def test_an_upstream_that_resets(g):
    g.echo.handle = lambda s: (tcp.read_exactly(s, 2), reset(s))
    try:
        with g.connect("echo") as s:
            s.sendall(b"hi")
            assert tcp.read_all(s) == b""
    finally:
        g.echo.handle = tcp.echo


# ---- where it goes ----

def test_a_refused_target_falls_to_the_next(g):
    retries = g.metric("weir_upstream_retries_total")
    for _ in range(4):
        with g.connect("pool") as s:
            s.sendall(b"x")
            assert tcp.read_exactly(s, 1) == b"x"
    assert g.metric("weir_upstream_retries_total") > retries


@pytest.mark.parametrize("name, status, cause", [
    ("nowhere", 404, "no Route matched with those values"),
    ("empty", 503, "no Service found with those values"),
    ("dead", 502, "An invalid response was received from the upstream server"),
])
def test_closed_with_a_word_in_the_log(g, name, status, cause):
    def closed():
        before = g.streams(status)
        with g.connect(name) as s:
            s.sendall(b"hello")
            assert tcp.read_all(s) == b""
        assert g.streams(status) == before + 1
        return f'status={status} cause="{cause}"' in g.log()
    weir.wait_until(closed, "the line in the log, which are limited")


def test_every_try_is_made(g):
    failures = g.metric("weir_upstream_connect_failures_total")
    with g.connect("dead") as s:
        assert tcp.read_all(s) == b""
    assert g.metric("weir_upstream_connect_failures_total") == failures + 3


def test_names_of_upstreams(g):
    with g.connect("named") as s:
        s.sendall(b"hello")
        assert tcp.read_exactly(s, 5) == b"hello"
    before = g.streams(503)
    with g.connect("unnamed") as s:
        assert tcp.read_all(s) == b""
    assert g.streams(503) == before + 1


def test_an_upstream_that_does_not_answer(g):
    before = g.streams(504)
    with g.connect("hanging") as s:
        assert tcp.read_all(s) == b""
    assert g.streams(504) == before + 1


def test_an_upstream_whose_certificate_is_not_trusted(g):
    before = g.streams(502)
    with g.connect("verified") as s:
        assert tcp.read_all(s) == b""
    assert g.streams(502) == before + 1


@pytest.mark.skipif(weir.SANITIZED, reason="a sanitizer keeps what is freed")
def test_silent_streams_hold_no_buffers(g):
    with contextlib.ExitStack() as stack:
        g.quiet()
        before = g.rss()
        for _ in range(300):
            s = stack.enter_context(g.connect("echo"))
            s.sendall(b"x")
            assert tcp.read_exactly(s, 1) == b"x"
        assert g.rss() - before < 300 * 24 * 1024


def test_plugins_whose_rows_are_for_streams(g):
    """prometheus counts; request-termination, which is there for all of HTTP, closes nothing."""
    labels = {"service": "echo", "route": "echo"}
    g.quiet()
    before = [g.metric("kong_stream_sessions_total", code="200", **labels),
              g.metric("kong_bandwidth_bytes", direction="egress", **labels)]
    with g.connect("echo") as s:
        s.sendall(b"hello")
        tcp.finish(s)
        assert tcp.read_all(s) == b"hello"
    weir.wait_until(lambda: g.metric("kong_stream_sessions_total", code="200", **labels) == before[0] + 1, "the session")
    assert g.metric("kong_bandwidth_bytes", direction="egress", **labels) == before[1] + 5
    assert g.get("/").status == 403


def test_stream_routes_and_http_routes_do_not_meet(g):
    with tcp.connect(g.port) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert tcp.read_exactly(s, 4)
    with g.connect("nowhere") as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert tcp.read_all(s) == b""


def test_an_idle_stream_ends(g):
    with g.connect("silent") as s:
        s.sendall(b"x")
        assert tcp.read_all(s) == b"x"


def test_an_upstream_that_takes_nothing_ends_it(g):
    with g.connect("blocked") as s:
        with pytest.raises(OSError):
            while True:
                s.sendall(b"x" * 65536)


# ---- TLS ----

@pytest.mark.parametrize("name", ["exact.test", "EXACT.test", "a.wild.test", "b.a.wild.test"])
def test_tls_ends_here_with_our_certificate(g, name):
    with g.connect_tls(name) as s:
        assert s.getpeercert(binary_form=True) == der(f"{g.certs}/dp.crt")
        s.sendall(b"hello")
        assert tcp.read_exactly(s, 5) == b"hello"


@pytest.mark.parametrize("name", ["through.test", "a.through.test"])
def test_passthrough_keeps_the_origins_certificate(g, name):
    with g.connect_tls(name) as s:
        assert s.getpeercert(binary_form=True) == der(f"{g.certs}/cp.crt")
        s.sendall(b"hello")
        assert tcp.read_exactly(s, 5) == b"hello"


def test_no_protocol_is_agreed_on(g):
    """What the bytes of a stream mean is not for the gateway to say; that of HTTP does."""
    context = tcp.client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    for port, agreed in ((g.ssl_port, None), (g.tls_port, "h2")):
        with context.wrap_socket(tcp.connect(port), server_hostname="exact.test") as s:
            assert s.selected_alpn_protocol() == agreed
            if agreed is None:
                s.sendall(b"hello")
                assert tcp.read_exactly(s, 5) == b"hello"


def test_certificates_that_routes_demand(tmp_path):
    """A connection without the certificate is closed before it reaches an upstream."""
    ours, others = tls_tools.Authority(tmp_path / "ca"), tls_tools.Authority(tmp_path / "others")
    pem = "".join(f"    {line}\n" for line in ours.pair.cert.splitlines())
    row = "11111111-2222-4333-8444-000000000009"
    echo = tcp.Server(tcp.echo)
    (tmp_path / "weir.yaml").write_text(f"""
_format_version: "3.0"
ca_certificates:
- id: {row}
  cert: |
{pem}
services:
- name: echo
  protocol: tcp
  host: 127.0.0.1
  port: {echo.port}
  routes:
  - {{protocols: [tls], snis: [on.test], tls_verify_client: "on", tls_client_ca_certificates: [{row}]}}
  - {{protocols: [tls], snis: [optional.test], tls_verify_client: optional, tls_client_ca_certificates: [{row}]}}
  - {{protocols: [tls], snis: [off.test], tls_verify_client: "off"}}
  - {{protocols: [tls], snis: [general.test]}}
""")
    port, = weir.free_ports(1)
    plane = weir.DataPlane(str(tmp_path), "--stream-listen", f"127.0.0.1:{port} ssl", "--ssl-verify-client", "on",
                           "--ssl-client-certificate", others.pair.cert_file, declarative=str(tmp_path / "weir.yaml"))
    plane.start()

    def served(name, pair=None):
        with contextlib.suppress(ssl.SSLError, ConnectionError), tls_tools.dial(port, name, pair) as s:
            s.sendall(b"x")
            return s.recv(1) == b"x"
        return False
    mine, theirs = ours.client("alice"), others.client("mallory")
    assert [served("on.test", pair) for pair in (mine, theirs, None)] == [True, False, False]
    assert [served("optional.test", pair) for pair in (mine, theirs, None)] == [True, False, True]
    assert [served("off.test", pair) for pair in (mine, theirs, None)] == [True, True, True]
    assert [served("general.test", pair) for pair in (mine, theirs, None)] == [False, True, False]
    assert tcp.metric(plane.metrics(), "weir_streams_total", status="400") == 5
    plane.stop()
    echo.close()


@pytest.mark.parametrize("name", ["other.test", "wild.test", "xexact.test", None])
def test_no_route_for_the_name(g, name):
    before = g.streams(404)
    with pytest.raises((ssl.SSLError, OSError)):
        g.connect_tls(name)
    weir.wait_until(lambda: g.streams(404) == before + 1, "the closed stream")


def test_tls_towards_the_upstream(g):
    with g.connect("secure") as s:
        s.sendall(b"plain on this side")
        assert tcp.read_exactly(s, 18) == b"plain on this side"
    with g.connect_tls("both.test") as s:
        s.sendall(b"hello")
        assert tcp.read_exactly(s, 5) == b"hello"


def test_half_close_through_ended_tls(g):
    with g.connect_tls("exact.test") as s:
        s.sendall(b"hello")
        assert tcp.read_exactly(s, 5) == b"hello"
        s.unwrap()  # close_notify, and waits for theirs: it comes when the echo has ended


class Trickle:
    """Between a TLS client and the gateway: passes the client's first bytes one by one."""

    def __init__(self, port, first):
        self.port, self.first = port, first
        self.server = tcp.Server(self.handle)

    def handle(self, s):
        with tcp.connect(self.port) as out:
            for _ in range(self.first):
                out.sendall(tcp.read_exactly(s, 1))
            threading.Thread(target=self.back, args=(out, s), daemon=True).start()
            while data := s.recv(65536):
                out.sendall(data)

    @staticmethod
    def back(a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)


@pytest.mark.parametrize("name", ["exact.test", "through.test"])
def test_a_client_hello_byte_by_byte(g, name):
    trickle = Trickle(g.ssl_port, 200)
    with tcp.connect_tls(trickle.server.port, name) as s:
        s.sendall(b"hello")
        assert tcp.read_exactly(s, 5) == b"hello"
    trickle.server.close()


def test_a_client_hello_over_many_records(g):
    """Allowed, if odd: RFC 8446 section 5.1. The handshake's answer shows that it was understood."""
    hello = tcp.client_hello("through.test")
    body, parts = hello[5:], b""
    for i in range(0, len(body), 7):
        parts += b"\x16\x03\x01" + struct.pack(">H", len(body[i:i + 7])) + body[i:i + 7]
    with tcp.connect(g.ssl_port) as s:
        for i in range(0, len(parts), 11):
            s.sendall(parts[i:i + 11])
        assert tcp.read_exactly(s, 3) == b"\x16\x03\x03"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: exact.test\r\n\r\n", b"\x16\x03\x01\x00\x05\x02\0\0\1\0",
                                  bytes(range(128, 192)), b"\x16\x03\x01\xff\xff" + b"\1" * 20000],
                         ids=["HTTP", "another handshake message", "no TLS", "a record too long"])
def test_garbage_in_place_of_a_client_hello(g, data):
    before = g.metric("weir_preread_refused_total", cause="client_hello")
    with tcp.connect(g.ssl_port) as s:
        with contextlib.suppress(OSError):
            s.sendall(data)
        assert tcp.read_all(s) == b""
    weir.wait_until(lambda: g.metric("weir_preread_refused_total", cause="client_hello") == before + 1, "its count")


@pytest.mark.parametrize("data", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
def test_a_client_hello_that_never_ends(g, data):
    """Closed in time, and without a busy loop meanwhile."""
    def cpu():
        with open(f"/proc/{g.process.pid}/stat") as f:
            return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))

    before, spent = g.metric("weir_preread_refused_total", cause="timeout"), cpu()
    with tcp.connect(g.ssl_port) as s:
        s.sendall(data)
        assert tcp.read_all(s) == b""
    assert g.metric("weir_preread_refused_total", cause="timeout") == before + 1
    assert cpu() - spent < 50  # hundredths of a second, of the whole second it waited


def test_a_client_hello_cut_in_the_middle(g):
    before = g.metric("weir_preread_refused_total", cause="client_hello")
    with tcp.connect(g.ssl_port) as s:
        s.sendall(tcp.client_hello("exact.test")[:100])
        tcp.finish(s)
        assert tcp.read_all(s) == b""
    assert g.metric("weir_preread_refused_total", cause="client_hello") == before + 1


# ---- while it lives ----

def test_a_stream_keeps_its_configuration(tmp_path):
    gateway = Gateway(str(tmp_path))
    gateway.start()
    other = tcp.Server(lambda s: s.sendall(b"other"))
    with gateway.connect("echo") as s:
        s.sendall(b"a")
        assert tcp.read_exactly(s, 1) == b"a"
        gateway.write(config(gateway, other.port))
        gateway.signal(signal.SIGHUP)

        def new_goes_elsewhere():
            with gateway.connect("echo") as fresh:
                fresh.sendall(b"b")
                return fresh.recv(5)[:1] == b"o"
        weir.wait_until(new_goes_elsewhere, "the new configuration")
        s.sendall(b"c")
        assert tcp.read_exactly(s, 1) == b"c"
    gateway.stop()
    other.close()


def test_term_lets_streams_end(tmp_path):
    gateway = Gateway(str(tmp_path))
    gateway.start()
    with gateway.connect("echo") as s, tcp.connect(gateway.ssl_port) as waiting:
        s.sendall(b"a")
        assert tcp.read_exactly(s, 1) == b"a"
        waiting.sendall(b"\x16\x03")
        gateway.signal(signal.SIGTERM)
        assert tcp.read_all(waiting) == b""  # it had no stream yet
        weir.wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", gateway.ports["echo"])), "no listener")
        s.sendall(b"b")
        assert tcp.read_exactly(s, 1) == b"b"
        assert gateway.process.poll() is None
    assert gateway.process.wait(weir.PATIENCE) == 0
    gateway.check_log()


def test_term_waits_no_longer_than_drain_timeout(tmp_path):
    gateway = Gateway(str(tmp_path), "--drain-timeout", "300ms")
    gateway.start()
    with gateway.connect("echo") as s:
        s.sendall(b"a")
        assert tcp.read_exactly(s, 1) == b"a"
        gateway.signal(signal.SIGTERM)
        assert tcp.read_all(s) == b""
    assert gateway.process.wait(weir.PATIENCE) == 0
    gateway.check_log()


def test_settings_are_refused_with_words(tmp_path):
    gateway = Gateway(str(tmp_path))
    at = gateway.args.index("--stream-listen") + 1
    gateway.args[at] = "127.0.0.1:0 http2"
    assert "stream_listen: http2 is for proxy_listen" in gateway.fails()
    taken = f"127.0.0.1:{gateway.nobody}"
    gateway.args[at] = f"{taken}, {taken} ssl"
    assert f"stream_listen: '{taken}' is taken by stream_listen" in gateway.fails()
    gateway.args[at] = f"0.0.0.0:{gateway.nobody}, {taken}"
    gateway.args[gateway.args.index("--proxy-listen") + 1] = taken
    assert f"stream_listen: '{taken}' is taken by proxy_listen" in gateway.fails()
    gateway.args[at] = "127.0.0.1:0 udp"
    assert "stream_listen" in gateway.fails()
