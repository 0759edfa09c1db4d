"""ip-restriction: whose address counts, on requests and on streams."""
import os

import pytest
import tcp
import weir
from test_proxy_protocol import v2

LISTENERS = ("tcp", "told", "tls")


def config(g):
    def route(name):
        return f"{{protocols: [tcp], destinations: [{{port: {g.ports[name]}}}]}}"

    def deny(addresses, *protocols):
        protocols = f"protocols: [{', '.join(protocols)}], " if protocols else ""
        return f"plugins: [{{name: ip-restriction, {protocols}config: {{deny: [{addresses}]}}}}]"
    echo = f"protocol: tcp, host: 127.0.0.1, port: {g.echo.port}"
    return f"""
_format_version: "3.0"
services:
- name: up
  url: "http://127.0.0.1:{g.up.port}"
  routes:
  - name: range
    paths: [/range]
    plugins: [{{name: ip-restriction, config: {{allow: [192.0.2.0/24, "2001:db8::/32"], deny: [192.0.2.66]}}}}]
  - {{name: local, paths: [/local], {deny("127.0.0.0/8")}}}
  - name: silent
    paths: [/silent]
    plugins: [{{name: ip-restriction, config: {{deny: [127.0.0.1], status: 204}}}}]
- {{name: denied, {echo}, routes: [{route("tcp")}], {deny("127.0.0.1")}}}
- {{name: told, {echo}, routes: [{route("told")}], {deny("192.0.2.66")}}}
- {{name: open, {echo}, routes: [{{protocols: [tls], snis: [open.test]}}]}}
- {{name: ended, {echo}, routes: [{{protocols: [tls], snis: [denied.test]}}], {deny("127.0.0.0/8", "tls")}}}
- {{name: passed, {echo}, routes: [{{protocols: [tls_passthrough], snis: [passed.test]}}], {deny("127.0.0.0/8", "tls_passthrough")}}}
"""


class Gateway(weir.DataPlane):
    def __init__(self, folder):
        certs = weir.make_certs(os.path.join(folder, "certs"))
        file = os.path.join(folder, "weir.yaml")
        self.up, self.echo = weir.Upstream(), tcp.Server(tcp.echo)
        self.ports = dict(zip(LISTENERS, weir.free_ports(len(LISTENERS))))
        with open(file, "w") as f:
            f.write(config(self))
        super().__init__(folder, "--stream-listen", ", ".join(
            f"127.0.0.1:{self.ports[name]}{more}"
            for name, more in zip(LISTENERS, ("", " proxy_protocol", " ssl"))), "--trusted-ips", "127.0.0.0/8",
            "--ssl-cert", f"{certs}/dp.crt", "--ssl-cert-key", f"{certs}/dp.key", declarative=file)

    def stop(self, status=0):
        super().stop(status)
        self.up.stop()
        self.echo.close()


@pytest.fixture(scope="module")
def g(tmp_path_factory):
    gateway = Gateway(str(tmp_path_factory.mktemp("ip")))
    gateway.start()
    yield gateway
    gateway.stop()


def ask(g, path, real_ip):
    return g.get(path, headers={"X-Real-IP": real_ip} if real_ip else {})


def test_a_trusted_peer_tells_the_address(g):
    for real_ip, told in (("192.0.2.7", None), ("192.0.2.7:4711", None), ("2001:db8::7", None),
                          ("[2001:db8::7]:4711", None), ("::ffff:192.0.2.7", None), ("198.51.100.1, 192.0.2.7", None),
                          ("192.0.2.66", "192.0.2.66"), ("192.0.2.66:80", "192.0.2.66"),
                          ("::ffff:192.0.2.66", "::ffff:192.0.2.66"), ("198.51.100.1", "198.51.100.1"),
                          ("2001:db9::7", "2001:db9::7"), (None, "127.0.0.1")):
        got = ask(g, "/range", real_ip)
        assert got.status == (403 if told else 200), real_ip
        if told:
            assert got.json["message"] == f"IP address not allowed: {told}"


@pytest.mark.parametrize("text", ["", "unknown", "192.0.2", "192.0.2.7/24", "192.0.2.256", "2001:db8", "::1::", "192.0.2.7,",
                                  "a.test:80", "1" * 60])
def test_what_is_no_address_is_not_believed(g, text):
    got = ask(g, "/range", text)
    assert got.status == 403 and got.json["message"] == "IP address not allowed: 127.0.0.1"


def test_the_peer_itself(g):
    before = len(g.up.requests)
    assert ask(g, "/local", None).status == 403
    assert ask(g, "/local", "127.3.2.1").json["message"] == "IP address not allowed: 127.3.2.1"
    assert len(g.up.requests) == before
    assert ask(g, "/local", "192.0.2.7").status == 200


def test_a_status_without_content(g):
    """The next answer on the connection is where it is due."""
    with tcp.connect(g.port) as s:
        s.sendall(b"GET /silent HTTP/1.1\r\nHost: a\r\n\r\nGET /local HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        first, _, rest = tcp.read_all(s).partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 204 ")
    assert rest.startswith(b"HTTP/1.1 403 ")


def streams(g, status):
    return tcp.metric(g.metrics(), "weir_streams_total", status=status)


def refused(g, s):
    before = g.echo.accepted
    with s:
        s.sendall(b"hello")
        assert tcp.read_all(s) == b""
    assert g.echo.accepted == before


def served(s):
    with s:
        s.sendall(b"hello")
        assert tcp.read_exactly(s, 5) == b"hello"


def test_streams(g):
    before = streams(g, 403)
    refused(g, tcp.connect(g.ports["tcp"]))
    weir.wait_until(lambda: streams(g, 403) == before + 1, "the refusal to be counted")


def test_streams_of_a_client_that_is_told(g):
    for header in (v2("192.0.2.7"), v2("2001:db8::66", "2001:db8::1")):
        s = tcp.connect(g.ports["told"])
        s.sendall(header)
        served(s)
    s = tcp.connect(g.ports["told"])
    s.sendall(v2("192.0.2.66"))
    refused(g, s)


def test_streams_with_tls(g):
    refused(g, tcp.connect_tls(g.ports["tls"], "denied.test"))
    served(tcp.connect_tls(g.ports["tls"], "open.test"))


def test_streams_that_are_passed_through(g):
    with pytest.raises(OSError):  # closed before there is a handshake
        tcp.connect_tls(g.ports["tls"], "passed.test")
