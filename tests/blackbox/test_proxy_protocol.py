"""The PROXY protocol: who a client is behind another proxy, taken from peers and told to upstreams."""
import contextlib
import os
import re
import socket
import struct

import pytest
import tcp
import weir

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n"
LISTENERS = ("plain", "secure", "stream", "stream_tls", "out", "out_tls", "plain_out")


def v2(src="192.0.2.7", dst="192.0.2.1", sport=4711, dport=443, command=0x21, more=b""):
    family = socket.AF_INET6 if ":" in src else socket.AF_INET
    body = socket.inet_pton(family, src) + socket.inet_pton(family, dst) + struct.pack(">HH", sport, dport) + more
    return SIGNATURE + bytes([command, 0x21 if ":" in src else 0x11]) + struct.pack(">H", len(body)) + body


def config(g):
    def route(name):
        return f"{{protocols: [tcp], destinations: [{{port: {g.ports[name]}}}]}}"
    seen = g.seen.port
    return f"""
_format_version: "3.0"
services:
- {{name: up, url: "http://127.0.0.1:{g.up.port}", routes: [{{paths: ["/"]}}]}}
- {{name: v1, url: "http://127.0.0.1:{g.http.port}", proxy_protocol: v1, routes: [{{paths: ["/v1"]}}]}}
- {{name: v2, url: "https://127.0.0.1:{g.https.port}", proxy_protocol: v2, routes: [{{paths: ["/v2"]}}]}}
- name: from
  protocol: tcp
  host: 127.0.0.1
  port: {g.echo.port}
  routes:
  - {{protocols: [tcp], sources: [{{ip: 192.0.2.0/24}}], destinations: [{{port: {g.ports["stream"]}}}]}}
  - {{protocols: [tcp], sources: [{{ip: "2001:db8::/32"}}], destinations: [{{port: {g.ports["stream"]}}}]}}
  - {{protocols: [tls], snis: [inner.test]}}
- {{name: out, protocol: tcp, host: 127.0.0.1, port: {seen}, proxy_protocol: v1, routes: [{route("out")}]}}
- {{name: plain_out, protocol: tcp, host: 127.0.0.1, port: {seen}, proxy_protocol: v2, routes: [{route("plain_out")}]}}
- {{name: out_tls, protocol: tls, host: 127.0.0.1, port: {g.seen_tls.port}, proxy_protocol: v2, routes: [{route("out_tls")}]}}
"""


def read_header(s):
    """Takes a PROXY header off a socket."""
    data = tcp.read_exactly(s, 16)
    if data.startswith(SIGNATURE):
        return data + tcp.read_exactly(s, struct.unpack(">H", data[14:16])[0])
    while not data.endswith(b"\r\n"):
        data += tcp.read_exactly(s, 1)
    return data


class Origin(tcp.Server):
    """Takes a header, then perhaps TLS; then HTTP answers with the connection's number, or an echo."""

    def __init__(self, http=False, tls=None):
        self.headers, self.requests, self.http, self.inner = [], 0, http, tls
        super().__init__(self.take)

    def take(self, s):
        self.headers.append(read_header(s))
        number = len(self.headers)
        if self.inner:
            s = self.inner.wrap_socket(s, server_side=True)
        with s:
            if not self.http:
                tcp.echo(s)
            data = b""
            while self.http and (part := s.recv(65536)):
                data += part
                if b"\r\n\r\n" in data:
                    self.requests += 1
                    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
                    data = b""


class Gateway(weir.DataPlane):
    def __init__(self, folder, *flags):
        certs = weir.make_certs(os.path.join(folder, "certs"))
        context = tcp.server_context(f"{certs}/cp.crt", f"{certs}/cp.key")
        file = os.path.join(folder, "weir.yaml")
        self.ports = dict(zip(LISTENERS, weir.free_ports(len(LISTENERS))))
        self.up, self.echo = weir.Upstream(), tcp.Server(tcp.echo)
        self.http, self.https = Origin(http=True), Origin(http=True, tls=context)
        self.seen, self.seen_tls = Origin(), Origin(tls=context)
        with open(file, "w") as f:
            f.write(config(self))

        def listen(*names, **more):
            return ", ".join(f"127.0.0.1:{self.ports[name]}{more.get(name, '')}" for name in names)
        super().__init__(
            folder, "--stream-listen",
            listen("stream", "stream_tls", "out", "out_tls", "plain_out", stream=" proxy_protocol",
                   stream_tls=" ssl proxy_protocol", out=" proxy_protocol", out_tls=" proxy_protocol"),
            "--client-header-timeout", "1s", *flags, declarative=file)
        at = self.args.index("--proxy-listen") + 1
        self.args[at] += ", " + listen("plain", "secure", plain=" proxy_protocol", secure=" ssl proxy_protocol")

    def metric(self, name, **labels):
        return tcp.metric(self.metrics(), name, **labels)

    def refused(self, cause="proxy_header"):
        return self.metric("weir_preread_refused_total", cause=cause)

    def stop(self, status=0):
        super().stop(status)
        self.up.stop()
        for server in (self.echo, self.http, self.https, self.seen, self.seen_tls):
            server.close()


TRUSTING = ("--trusted-ips", "127.0.0.0/8", "--real-ip-header", "proxy_protocol")


@pytest.fixture(scope="module")
def g(tmp_path_factory):
    gateway = Gateway(str(tmp_path_factory.mktemp("proxy")), *TRUSTING)
    gateway.start()
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def wary(tmp_path_factory):
    """Trusts nobody."""
    gateway = Gateway(str(tmp_path_factory.mktemp("wary")), "--real-ip-header", "proxy_protocol")
    gateway.start()
    yield gateway
    gateway.stop()


def ask(g, s, path=b"/x", headers=b""):
    """One request; what the upstream saw of the client, by header."""
    s.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: a.test\r\n" + headers + b"\r\n")
    data = b""
    while b"\r\n\r\n" not in data:
        part = s.recv(65536)
        assert part, data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
    body += tcp.read_exactly(s, length - len(body))
    assert head.startswith(b"HTTP/1.1 200"), head
    return body


def seen(g):
    return {name.lower(): value for name, value in g.up.requests[-1]["headers"]}


HEADERS = {"v1": V1, "v2": v2(), "v2 with a TLV": v2(more=b"\x04\0\3abc"), "v1 IPv6":
           b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "v2 IPv6": v2("2001:db8::7", "2001:db8::1")}


# ---- from the peer ----

@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("listener", ["plain", "secure"])
def test_http_clients(g, kind, listener):
    with tcp.connect(g.ports[listener]) as raw:
        raw.sendall(HEADERS[kind])
        s = tcp.connect_tls(0, "a.test", raw) if listener == "secure" else raw
        for _ in range(2):  # of the connection, not of one request
            ask(g, s)
            address = "2001:db8::7" if "IPv6" in kind else "192.0.2.7"
            assert seen(g)["x-real-ip"] == address
            assert seen(g)["x-forwarded-for"] == address
        ask(g, s, headers=b"X-Forwarded-For: 198.51.100.1\r\nX-Real-IP: 198.51.100.1\r\n")
        assert seen(g)["x-real-ip"] == address
        assert seen(g)["x-forwarded-for"] == "198.51.100.1, 127.0.0.1"
        s.close()


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ff:: ff:: 1 2\r\n", v2(command=0x20)])
def test_headers_that_name_nobody(g, header):
    with tcp.connect(g.ports["plain"]) as s:
        s.sendall(header)
        ask(g, s)
        assert seen(g)["x-real-ip"] == "127.0.0.1"


def test_connections_are_counted_for_the_client_that_is_named(tmp_path):
    """Of the peer, which is trusted, any number; of the client it names as many as one may have, till they close."""
    gateway = Gateway(str(tmp_path), *TRUSTING, "--client-max-connections-per-address", "1")
    gateway.start()
    limit = {"limit": "client_max_connections_per_address"}
    with tcp.connect(gateway.ports["plain"]) as first, tcp.connect(gateway.ports["plain"]) as other:
        first.sendall(V1)
        ask(gateway, first)
        other.sendall(V1.replace(b"192.0.2.7", b"192.0.2.8"))
        ask(gateway, other)
        assert gateway.metric("weir_limit_hits_total", **limit) == 0
        for header in (V1, v2()):
            with tcp.connect(gateway.ports["plain"]) as s:
                s.sendall(header)
                assert tcp.read_all(s) == b""
        assert gateway.metric("weir_limit_hits_total", **limit) == 2

    def again():
        with contextlib.suppress(AssertionError, ConnectionError), tcp.connect(gateway.ports["plain"]) as s:
            s.sendall(V1)
            return ask(gateway, s)

    weir.wait_until(again, "room for another")
    for header in (b"PROXY TCP4 127.0.0.3 127.0.0.1 1 2\r\n", b"PROXY UNKNOWN\r\n"):  # trusted: not limited
        with tcp.connect(gateway.ports["plain"]) as a, tcp.connect(gateway.ports["plain"]) as b:
            for s in (a, b):
                s.sendall(header)
                ask(gateway, s)
    gateway.stop()


def test_a_peer_that_is_not_trusted(wary):
    """Its header is taken, and not believed."""
    with tcp.connect(wary.ports["plain"]) as s:
        s.sendall(V1)
        ask(wary, s)
        assert seen(wary)["x-real-ip"] == "127.0.0.1"
    with tcp.connect(wary.ports["stream"]) as s:
        s.sendall(V1 + b"hello")
        assert tcp.read_all(s) == b""  # the route asks for 192.0.2.0/24


def test_another_real_ip_header(tmp_path):
    gateway = Gateway(str(tmp_path), "--trusted-ips", "127.0.0.1")
    gateway.start()
    with tcp.connect(gateway.ports["plain"]) as s:
        s.sendall(V1)
        ask(gateway, s, headers=b"X-Real-IP: 198.51.100.1\r\n")
        assert seen(gateway)["x-real-ip"] == "198.51.100.1"
    gateway.stop()


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("pieces", [1, 0], ids=["at once", "byte by byte"])
def test_streams(g, kind, pieces):
    data = HEADERS[kind] + b"hello"
    with tcp.connect(g.ports["stream"]) as s:
        if pieces:
            s.sendall(data)
        else:
            for i in range(len(data)):
                s.sendall(data[i:i + 1])
        assert tcp.read_exactly(s, 5) == b"hello"


def test_streams_over_tls(g):
    with tcp.connect(g.ports["stream_tls"]) as raw:
        raw.sendall(v2())
        with tcp.connect_tls(0, "inner.test", raw) as s:
            s.sendall(b"hello")
            assert tcp.read_exactly(s, 5) == b"hello"


@pytest.mark.parametrize("listener", ["plain", "secure", "stream", "stream_tls"])
@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n\r\n", b"PROXY " + b"A" * 200,
    b"PROXY TCP4 300.1.1.1 1.2.3.4 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\r", SIGNATURE + b"\x31\x11\0\x0c" + b"\0" * 12,
    SIGNATURE + b"\x21\x11\xff\xff" + b"\0" * 8000, b"\x16\x03\x01\x00\x05",
], ids=range(8))
def test_no_header(g, listener, data):
    before = g.refused()
    with tcp.connect(g.ports[listener]) as s:
        with contextlib.suppress(OSError):
            s.sendall(data)
        assert tcp.read_all(s) == b""
    weir.wait_until(lambda: g.refused() == before + 1, "the count of refused connections")


@pytest.mark.parametrize("data", [b"", V1[:20], v2()[:20]], ids=["nothing", "half v1", "half v2"])
def test_a_header_that_never_ends(g, data):
    before = g.refused("timeout")
    with tcp.connect(g.ports["plain"]) as s:
        s.sendall(data)
        assert tcp.read_all(s) == b""
    assert g.refused("timeout") == before + 1


def test_a_header_cut_in_the_middle(g):
    before = g.refused()
    with tcp.connect(g.ports["plain"]) as s:
        s.sendall(V1[:20])
        s.shutdown(socket.SHUT_WR)
        assert tcp.read_all(s) == b""
    assert g.refused() == before + 1


def test_a_peer_that_only_looks(g):
    """As balancers do: neither an error nor a line in the log."""
    before = g.refused()
    with tcp.connect(g.ports["plain"]) as s:
        s.shutdown(socket.SHUT_WR)
        assert tcp.read_all(s) == b""
    assert g.refused() == before


# ---- to the upstream ----

def addresses(header):
    """source and destination of a header, as text."""
    if header.startswith(SIGNATURE):
        family, n = (socket.AF_INET, 4) if header[13] == 0x11 else (socket.AF_INET6, 16)
        ports = struct.unpack(">HH", header[16 + 2 * n:20 + 2 * n])
        return (socket.inet_ntop(family, header[16:16 + n]), ports[0]), (
            socket.inet_ntop(family, header[16 + n:16 + 2 * n]), ports[1])
    _, _, source, destination, sport, dport = header.split()
    return (source.decode(), int(sport)), (destination.decode(), int(dport))


@pytest.mark.parametrize("listener, origin", [("out", "seen"), ("out_tls", "seen_tls")])
def test_streams_pass_the_client_on(g, listener, origin):
    with tcp.connect(g.ports[listener]) as s:
        s.sendall(V1 + b"hello")
        assert tcp.read_exactly(s, 5) == b"hello"
    source, destination = addresses(getattr(g, origin).headers[-1])
    assert source == ("192.0.2.7", 4711)
    assert destination == ("127.0.0.1", g.ports[listener])


def test_streams_tell_of_the_client(g):
    with tcp.connect(g.ports["plain_out"]) as s:
        me = s.getsockname()
        s.sendall(b"hello")
        assert tcp.read_exactly(s, 5) == b"hello"
    assert addresses(g.seen.headers[-1]) == (me, ("127.0.0.1", g.ports["plain_out"]))


@pytest.mark.parametrize("path, origin", [(b"/v1", "http"), (b"/v2", "https")])
def test_http_upstreams_get_one_connection_per_client_request(g, path, origin):
    origin = getattr(g, origin)
    for client in range(2):
        with tcp.connect(g.port) as s:
            before = len(origin.headers)
            for _ in range(2):
                ask(g, s, path)
            new = origin.headers[before:]
            assert len(new) == 2 and origin.requests == len(origin.headers)
            assert all(addresses(h) == (s.getsockname(), ("127.0.0.1", g.port)) for h in new)


# ---- the field ----

def test_the_field_is_not_seen_while_unset(tmp_path):
    with weir.Cluster(tmp_path) as c:
        cp = c.cp
        service = cp.post("/services", {"name": "s", "host": "h.test"}).json
        assert "proxy_protocol" not in service
        assert "proxy_protocol" not in cp.get("/schemas/services").text
        assert cp.patch("/services/s", {"proxy_protocol": "v2"})["proxy_protocol"] == "v2"
        assert cp.get("/services/s")["proxy_protocol"] == "v2"
        assert "proxy_protocol" not in cp.patch("/services/s", {"proxy_protocol": None}).json
        refused = cp.patch("/services/s", {"proxy_protocol": "v3"})
        assert refused.status == 400 and "expected one of: v1, v2" in refused.text
        refused = cp.patch("/services/s", {"proxy_protocol": "v1", "protocol": "grpc"})
        assert refused.status == 400 and "proxy_protocol" in refused.text


def test_expressions_see_the_port_that_the_header_tells(tmp_path):
    up, (port,) = weir.Upstream(), weir.free_ports(1)
    (tmp_path / "weir.yaml").write_text(f"""
_format_version: "3.0"
services:
- name: up
  url: http://127.0.0.1:{up.port}
  routes:
  - {{name: told, expression: 'net.src.port == 4711 && net.src.ip == 192.0.2.7'}}
""")
    plane = weir.DataPlane(str(tmp_path), "--router-flavor", "expressions", *TRUSTING,
                           declarative=str(tmp_path / "weir.yaml"))
    plane.args[plane.args.index("--proxy-listen") + 1] += f", 127.0.0.1:{port} proxy_protocol"
    plane.start()
    for header, status in ((V1, b"200"), (V1.replace(b"4711", b"4712"), b"404")):
        with tcp.connect(port) as s:
            s.sendall(header + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert tcp.read_all(s).split()[1] == status
    plane.stop()
    up.stop()
