"""TLS of clients and towards upstreams, with real handshakes."""
import concurrent.futures
import os
import re
import signal
import socket
import ssl
import subprocess
import threading

import pytest
import weir
from tls_tools import Authority, ask, context, dial, s_client, shown

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with weir.Cluster(tmp_path_factory.mktemp("tls"), planes=2) as c:
        yield c


@pytest.fixture
def clean(cluster):
    """The cluster, emptied afterwards."""
    yield cluster
    for kind in ("routes", "services", "upstreams", "snis", "certificates", "ca_certificates", "plugins"):
        for row in cluster.cp.get(f"/{kind}?size=1000")["data"]:
            assert cluster.cp.delete(f"/{kind}/{row['id']}").status == 204


def make(cp, kind, **fields):
    answer = cp.post(f"/{kind}", fields)
    assert answer.status == 201, answer
    return answer["id"]


def echo_route(c, **fields):
    service = make(c.cp, "services", url=c.upstream.url)
    return make(c.cp, "routes", service={"id": service}, **{"paths": ["/"], **fields})


# ---- which certificate ----

def test_names_exact_and_wild(clean, ca):
    pairs = {n: ca.server(n.replace("*", "w")) for n in ("a.test", "*.w.test", "b.*", "*")}
    for name, pair in pairs.items():
        make(clean.cp, "certificates", cert=pair.cert, key=pair.key, snis=[name])
    clean.synced()
    port = clean.dp[0].tls_port
    for asked, answered in (("a.test", "a.test"), ("A.TEST", "a.test"), ("x.w.test", "*.w.test"), ("b.example", "b.*"),
                            ("other", "*"), ("x.y.w.test", "*")):
        assert shown(port, asked) == pairs[answered].der, asked


def test_two_kinds_of_keys_for_one_name(clean, ca):
    rsa, ec = ca.server("two.test", kind="rsa"), ca.server("two.test", kind="ec")
    make(clean.cp, "certificates", cert=rsa.cert, key=rsa.key, cert_alt=ec.cert, key_alt=ec.key, snis=["two.test"])
    clean.synced()
    port = clean.dp[0].tls_port
    for algorithm, type_ in (("RSA-PSS+SHA256", "RSA-PSS"), ("ECDSA+SHA256", "ECDSA")):
        for version in ("-tls1_2", "-tls1_3"):
            out = s_client(port, "-servername", "two.test", "-sigalgs", algorithm, version)
            assert f"Peer signature type: {type_}" in out, (algorithm, version, out)


def test_a_changed_certificate_drops_nobody(clean, ca):
    """Connections go on, the next handshake has the new one; under load, with every request answered."""
    pairs = [ca.server("turn.test", file=f"turn{i}") for i in range(6)]
    echo_route(clean, hosts=["turn.test"])
    row = make(clean.cp, "certificates", cert=pairs[0].cert, key=pairs[0].key, snis=["turn.test"])
    clean.synced()
    port, over = clean.dp[0].tls_port, threading.Event()

    def keep_asking():
        n = 0
        with dial(port, "turn.test") as s:
            while not over.is_set():
                assert ask(s, host="turn.test")[0] == 200
                n += 1
        return n

    def keep_dialling():
        seen = set()
        while not over.is_set():
            with dial(port, "turn.test") as s:
                seen.add(s.getpeercert(binary_form=True))
                assert ask(s, host="turn.test", keep=False)[0] == 200
        return seen

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(keep_asking) for _ in range(2)]
        dialling = [pool.submit(keep_dialling) for _ in range(2)]
        try:
            for pair in pairs[1:]:
                assert clean.cp.patch(f"/certificates/{row}", {"cert": pair.cert, "key": pair.key}).status == 200
                weir.wait_until(lambda: shown(port, "turn.test") == pair.der, "the new certificate")
        finally:
            over.set()
    assert all(f.result() > 0 for f in asking)
    known = {p.der for p in pairs}
    assert all(f.result() <= known for f in dialling) and len(set.union(*(f.result() for f in dialling))) > 1


# ---- what the settings say ----

def declarative(folder, text='_format_version: "3.0"\n'):
    file = os.path.join(str(folder), "weir.yaml")
    with open(file, "w") as f:
        f.write(text)
    return file


class Plane:
    """A data plane of its own, with flags."""

    def __init__(self, folder, *flags, text='_format_version: "3.0"\n', workers=1):
        self.dp = weir.DataPlane(str(folder), *flags, declarative=declarative(folder, text), workers=workers)

    def __enter__(self):
        return self.dp.start()

    def __exit__(self, kind, *_):
        if kind:
            self.dp.kill()
        else:
            self.dp.stop()


def test_default_certificates_and_hup(tmp_path, ca):
    rsa, ec = ca.server("default.test", kind="rsa"), ca.server("default.test", kind="ec")
    files = {}
    for kind, pair in (("rsa", rsa), ("ec", ec)):
        for part, text in (("crt", pair.cert), ("key", pair.key)):
            files[kind, part] = str(tmp_path / f"{kind}.{part}")
            with open(files[kind, part], "w") as f:
                f.write(text)
    flags = ("--ssl-cert", f"{files['rsa', 'crt']}, {files['ec', 'crt']}",
             "--ssl-cert-key", f"{files['rsa', 'key']}, {files['ec', 'key']}")
    with Plane(tmp_path, *flags, workers=2) as dp:
        assert "Peer signature type: RSA-PSS" in s_client(dp.tls_port, "-sigalgs", "RSA-PSS+SHA256")
        assert "Peer signature type: ECDSA" in s_client(dp.tls_port, "-sigalgs", "ECDSA+SHA256")
        with dial(dp.tls_port) as old:
            new = ca.server("default.test", file="default-new")
            with open(files["ec", "crt"], "w") as f:
                f.write("nonsense")
            dp.signal(signal.SIGHUP)
            weir.wait_until(lambda: "ssl_cert_refused" in dp.log(), "the refusal")
            assert shown(dp.tls_port) == ec.der
            with open(files["ec", "crt"], "w") as f:
                f.write(new.cert)
            with open(files["ec", "key"], "w") as f:
                f.write(new.key)
            dp.signal(signal.SIGHUP)
            # each worker takes it on its own: a while long both may be seen
            weir.wait_until(lambda: all(shown(dp.tls_port) == new.der for _ in range(16)), "the new certificate")
            assert ask(old)[0] == 404


def accepts(port, *args):
    return "Cipher is (NONE)" not in s_client(port, *args)


def test_protocols_and_ciphers(tmp_path):
    cases = {
        (): {"-tls1_1": False, "-tls1_2": True, "-tls1_3": True},
        ("--ssl-cipher-suite", "modern"): {"-tls1_2": False, "-tls1_3": True},
        ("--ssl-cipher-suite", "old"): {"-tls1_1": True, "-tls1_2": True, "-tls1_3": True},
        ("--ssl-cipher-suite", "fips"): {"-tls1_1": False, "-tls1_2": True, "-tls1_3": True},
        ("--ssl-protocols", "TLSv1.2"): {"-tls1_2": True, "-tls1_3": False},
        ("--ssl-cipher-suite", "custom", "--ssl-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384"): {"-tls1_2": True},
        ("--ssl-ktls", "--ssl-dhparam", "ffdhe2048"): {"-tls1_2": True, "-tls1_3": True},
    }
    for i, (flags, wanted) in enumerate(cases.items()):
        folder = tmp_path / str(i)
        folder.mkdir()
        with Plane(folder, *flags) as dp:
            for version, works in wanted.items():
                weak = ("-cipher", "ALL:@SECLEVEL=0") if version == "-tls1_1" else ()
                assert accepts(dp.tls_port, version, *weak) == works, (flags, version)
            if "custom" in flags:
                assert "ECDHE-ECDSA-AES256-GCM-SHA384" in s_client(dp.tls_port, "-tls1_2")
                assert not accepts(dp.tls_port, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256")


def test_whose_order_of_ciphers_counts(tmp_path):
    theirs = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
    for word, cipher in (("off", "TLS_AES_128_GCM_SHA256"), ("on", "TLS_AES_256_GCM_SHA384")):
        folder = tmp_path / word
        folder.mkdir()
        with Plane(folder, "--ssl-prefer-server-ciphers", word) as dp:
            out = s_client(dp.tls_port, "-tls1_3", "-ciphersuites", theirs.split(":", 1)[1])
            assert f"Cipher is {cipher}" in out, (word, out)


@pytest.mark.parametrize("flags, words", [
    (("--ssl-protocols", "SSLv3"), ("ssl_protocols", "SSLv3", "TLSv1.2")),
    (("--ssl-cipher-suite", "best"), ("ssl_cipher_suite", "intermediate")),
    (("--ssl-ciphers", "ALL"), ("ssl_ciphers", "custom")),
    (("--ssl-cipher-suite", "custom", "--ssl-ciphers", "nonsense"), ("ssl_ciphers",)),
    (("--ssl-cert", "/a.crt, /b.crt", "--ssl-cert-key", "/a.key"), ("ssl_cert", "2 and 1")),
    (("--ssl-cert", "/no/such.crt", "--ssl-cert-key", "/no/such.key"), ("/no/such.crt",)),
    (("--ssl-dhparam", "/no/such.pem"), ("ssl_dhparam",)),
    (("--lua-ssl-trusted-certificate", "system, /no/such.pem"), ("lua_ssl_trusted_certificate", "/no/such.pem")),
    (("--ssl-verify-client", "on"), ("ssl_client_certificate",)),
    (("--client-ssl",), ("client_ssl", "client_ssl_cert")),
    (("--ssl-session-timeout", "30d"), ("ssl_session_timeout",)),
])
def test_settings_that_are_refused(tmp_path, flags, words):
    dp = weir.DataPlane(str(tmp_path), *flags, declarative=declarative(tmp_path))
    said = dp.fails()
    assert all(w in said for w in words), said


# ---- sessions ----

def session_of(port, version, file, name="ticket.test"):
    """Gets a ticket into file."""
    out = s_client(port, version, "-servername", name, "-sess_out", file)
    assert os.path.exists(file), out


def resumes(port, version, file, name="ticket.test"):
    out = s_client(port, version, "-servername", name, "-sess_in", file)
    assert re.search(r"^(New|Reused), TLS", out, re.M), out
    assert "HTTP/1.1 4" in out or "HTTP/1.1 2" in out, out
    return bool(re.search(r"^Reused, TLS", out, re.M))


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_resume_on_every_data_plane(cluster, tmp_path, version):
    file = str(tmp_path / "session.pem")
    for got, used in ((0, 1), (1, 0), (0, 0)):
        session_of(cluster.dp[got].tls_port, version, file)
        for _ in range(4):  # its workers share the port
            assert resumes(cluster.dp[used].tls_port, version, file)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_an_old_ticket_is_a_full_handshake(tmp_path, version):
    file = str(tmp_path / "session.pem")
    with weir.Cluster(tmp_path, planes=2, cp_flags=("--ssl-ticket-rotation", "1s")) as c:
        weir.wait_until(lambda: all(d.ready() for d in c.dp), "the first keys")
        first = c.cp.version()
        session_of(c.dp[0].tls_port, version, file)
        # the key in use at that time goes with the second or third rotation after it was the newest
        weir.wait_until(lambda: c.cp.version() >= first + 5, "rotations")
        assert not any(resumes(d.tls_port, version, file) for d in c.dp)


def test_keys_change_without_a_control_plane_too(tmp_path):
    file = str(tmp_path / "session.pem")
    with Plane(tmp_path, workers=2) as dp:
        for version in ("-tls1_2", "-tls1_3"):
            session_of(dp.tls_port, version, file)
            assert all(resumes(dp.tls_port, version, file) for _ in range(4))
    (tmp_path / "b").mkdir()
    with Plane(tmp_path / "b", "--ssl-ticket-rotation", "1s") as dp:
        session_of(dp.tls_port, "-tls1_3", file)
        at = dp.status()["configuration"]["version"]
        weir.wait_until(lambda: dp.status()["configuration"]["version"] >= at + 4, "rotations")
        assert not resumes(dp.tls_port, "-tls1_3", file)


def test_no_tickets(tmp_path):
    file = str(tmp_path / "session.pem")
    with Plane(tmp_path, "--ssl-session-tickets=off") as dp:
        for version in ("-tls1_2", "-tls1_3"):
            out = s_client(dp.tls_port, version, "-sess_out", file)
            assert "HTTP/1.1 404" in out and "TLS session ticket:" not in out, out


def test_ticket_keys_are_nobodys_business(cluster):
    """No path, no schema, no tag, no log shows them."""
    for path in ("/tls_ticket_keys", "/schemas/tls_ticket_keys"):
        assert cluster.cp.get(path).status == 404, path
    assert cluster.cp.post("/schemas/tls_ticket_keys/validate", {}).status in (404, 405)
    assert "ticket" not in cluster.cp.get("/endpoints").text
    assert "ticket_key" not in cluster.cp.get("/tags").text
    logs = cluster.cp.log() + "".join(d.log() for d in cluster.dp)
    assert not re.search(r"[0-9a-f]{128}", logs)


# ---- clients' certificates ----

def answer(port, name="m.test", pair=None, path="/", host=None, version=None):
    with dial(port, name, pair=pair, version=version) as s:
        status, body = ask(s, path, host or name or "a")
        return status, body.decode()


NONE_SENT, WRONG = "No required SSL certificate was sent", "The SSL certificate error"


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_routes_ask_for_certificates(clean, ca, tmp_path, version):
    other = Authority(tmp_path, "other")
    good, bad = ca.client("alice"), other.client("mallory")
    row = make(clean.cp, "ca_certificates", cert=ca.pair.cert)
    echo_route(clean, hosts=["m.test"], snis=["m.test"], tls_verify_client="on", tls_client_ca_certificates=[row])
    echo_route(clean, hosts=["o.test"], snis=["o.test"], tls_verify_client="optional", tls_client_ca_certificates=[row])
    echo_route(clean, hosts=["n.test"], snis=["n.test"], tls_verify_client="optional_no_ca")
    echo_route(clean, hosts=["w.test"], snis=["*.w.test"], tls_verify_client="on", tls_client_ca_certificates=[row],
               paths=["/w"])
    echo_route(clean, hosts=["plain.test"])
    echo_route(clean, hosts=["late.test"], tls_verify_client="on", tls_client_ca_certificates=[row])
    clean.synced()
    port = clean.dp[0].tls_port
    for name, none, right, wrong in (("m.test", (400, NONE_SENT), 200, (400, WRONG)), ("o.test", 200, 200, (400, WRONG)),
                                     ("n.test", 200, 200, 200), ("plain.test", 200, 200, 200),
                                     ("late.test", (400, NONE_SENT), (400, NONE_SENT), (400, NONE_SENT))):
        for pair, wanted in ((None, none), (good, right), (bad, wrong)):
            status, body = answer(port, name, pair, version=version)
            if isinstance(wanted, tuple):
                assert status == wanted[0] and wanted[1] in body, (name, pair, status, body)
            else:
                assert status == wanted, (name, status, body)
    # another name in the handshake than the one the request is for
    status, body = answer(port, "plain.test", good, host="late.test", version=version)
    assert status == 400 and NONE_SENT in body
    # shown to one name, it is judged for the other by that one's authorities
    assert answer(port, "n.test", good, host="late.test", version=version)[0] == 200
    status, body = answer(port, "n.test", bad, host="late.test", version=version)
    assert status == 400 and WRONG in body
    # without TLS there is none
    assert clean.dp[0].get("/", headers={"Host": "late.test"}).status == 400
    assert clean.dp[0].get("/", headers={"Host": "m.test"}).status == 400


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_resuming_does_not_go_around_the_certificate(clean, ca, version):
    row = make(clean.cp, "ca_certificates", cert=ca.pair.cert)
    echo_route(clean, hosts=["m.test"], snis=["m.test"], tls_verify_client="on", tls_client_ca_certificates=[row])
    echo_route(clean, hosts=["open.test"], snis=["open.test"])
    clean.synced()
    port = clean.dp[0].tls_port
    ctx = context(version=version)
    with dial(port, "open.test", ctx=ctx) as s:
        assert ask(s, host="open.test")[0] == 200
        session = s.session
    with dial(port, "open.test", ctx=ctx, session=session) as s:
        assert s.session_reused and ask(s, host="open.test")[0] == 200
        session = s.session
    with dial(port, "m.test", ctx=ctx, session=session) as s:
        assert not s.session_reused and ask(s, host="m.test")[0] == 400
    ctx = context(ca.client("bob"), version=version)
    with dial(port, "m.test", ctx=ctx) as s:
        assert ask(s, host="m.test")[0] == 200
        session = s.session
    with dial(port, "m.test", ctx=ctx, session=session) as s:
        assert s.session_reused and ask(s, host="m.test")[0] == 200
    # other authorities: what they have not verified counts for nothing
    other = Authority(ca.folder, "second")
    assert clean.cp.patch(f"/ca_certificates/{row}", {"cert": other.pair.cert}).status == 200
    clean.synced()
    with dial(port, "m.test", ctx=ctx, session=session) as s:
        assert not s.session_reused and ask(s, host="m.test")[0] == 400


def test_fields_of_routes_that_are_not_shown(clean, ca):
    route = echo_route(clean)
    assert not [f for f in clean.cp.get(f"/routes/{route}").json if f.startswith("tls_")]
    assert "tls_verify_client" not in clean.cp.get("/schemas/routes").text
    refused = clean.cp.patch(f"/routes/{route}", {"tls_verify_client": "perhaps"})
    assert refused.status == 400 and "expected one of: off, optional, optional_no_ca, on" in refused.text
    nobody = "11111111-2222-4333-8444-000000000001"
    refused = clean.cp.patch(f"/routes/{route}", {"tls_client_ca_certificates": [nobody]})
    assert refused.status == 400 and nobody in refused.text
    row = make(clean.cp, "ca_certificates", cert=ca.pair.cert)
    shown_ = clean.cp.patch(f"/routes/{route}", {"tls_verify_client": "on", "tls_client_ca_certificates": [row]})
    assert shown_["tls_verify_client"] == "on" and shown_["tls_client_ca_certificates"] == [row]
    kept = clean.cp.delete(f"/ca_certificates/{row}")
    assert kept.status == 400 and "still referenced by routes" in kept.text
    off = clean.cp.patch(f"/routes/{route}", {"tls_verify_client": None, "tls_client_ca_certificates": None})
    assert not [f for f in off.json if f.startswith("tls_")]


def test_listeners_ask_for_certificates(tmp_path, ca):
    echo = weir.Upstream()
    text = f"""
_format_version: "3.0"
services:
- name: up
  url: {echo.url}
  routes:
  - {{name: a, hosts: [a.test]}}
  - {{name: b, hosts: [b.test], snis: [b.test], tls_verify_client: "off"}}
"""
    good, bad = ca.client("carol"), Authority(tmp_path, "stranger").client("dave")
    for word, none, right, wrong in (("on", 400, 200, 400), ("optional", 200, 200, 400),
                                     ("optional_no_ca", 200, 200, 200)):
        folder = tmp_path / word
        folder.mkdir()
        with Plane(folder, "--ssl-verify-client", word, "--ssl-client-certificate", ca.pair.cert_file, text=text) as dp:
            for pair, wanted in ((None, none), (good, right), (bad, wrong)):
                assert answer(dp.tls_port, "a.test", pair)[0] == wanted, (word, wanted)
                assert answer(dp.tls_port, "b.test", pair)[0] == 200
            assert dp.get("/", headers={"Host": "a.test"}).status == 200
            assert answer(dp.tls_port, None, None, host="a.test")[0] == none
    echo.stop()


# ---- towards upstreams ----

class Origin:
    """A TLS server that answers with the name in the certificate it was shown."""

    def __init__(self, pair, client_ca=None):
        self.ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ctx.load_cert_chain(pair.cert_file, pair.key_file)
        if client_ca:
            self.ctx.verify_mode = ssl.CERT_OPTIONAL
            self.ctx.load_verify_locations(client_ca.pair.cert_file)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    def serve(self, plain):
        try:
            with self.ctx.wrap_socket(plain, server_side=True) as s:
                cert = s.getpeercert() or {}
                names = [v for part in cert.get("subject", ()) for k, v in part if k == "commonName"]
                while s.recv(65536):
                    body = (names[0] if names else "nobody").encode()
                    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except OSError:
            pass

    def stop(self):
        self.listener.close()


def test_upstreams_are_verified_as_the_service_says(clean, ca, tmp_path):
    middle = Authority(ca.folder, "middle", parent=ca)
    with open(ca.path("chain.crt"), "w") as f:
        leaf = middle.server("localhost", file="leaf")
        f.write(leaf.cert + middle.pair.cert)
    leaf.cert_file = ca.path("chain.crt")
    origin, direct = Origin(leaf), Origin(ca.server("localhost", file="direct"))
    right = make(clean.cp, "ca_certificates", cert=ca.pair.cert)
    wrong = make(clean.cp, "ca_certificates", cert=Authority(tmp_path, "wrong").pair.cert)
    cases = [
        (direct, {"tls_verify": False}, 200), (direct, {}, 200),
        (direct, {"tls_verify": True}, 502),  # the system does not know this authority
        (direct, {"tls_verify": True, "ca_certificates": [wrong]}, 502),
        (direct, {"tls_verify": True, "ca_certificates": [wrong, right]}, 200),
        (direct, {"tls_verify": True, "ca_certificates": [right], "tls_verify_depth": 0}, 200),
        (origin, {"tls_verify": True, "ca_certificates": [right]}, 200),
        (origin, {"tls_verify": True, "ca_certificates": [right], "tls_verify_depth": 0}, 502),
        (origin, {"tls_verify": False, "ca_certificates": [wrong]}, 200),
    ]
    services = []
    for i, (o, fields, _) in enumerate(cases):
        services.append(make(clean.cp, "services", url=f"https://localhost:{o.port}", retries=0, **fields))
        make(clean.cp, "routes", paths=[f"/{i}"], service={"id": services[-1]})
    clean.synced()
    for i, (_, fields, status) in enumerate(cases):
        assert clean.dp[0].get(f"/{i}").status == status, (i, fields)
    # a changed authority counts from the next connection on
    kept = clean.cp.delete(f"/ca_certificates/{right}")
    assert kept.status == 400 and kept["code"] == 19 and "still referenced by services" in kept.text
    new = Authority(tmp_path, "new")
    assert clean.cp.patch(f"/ca_certificates/{wrong}", {"cert": new.pair.cert}).status == 200
    fresh = Origin(new.server("localhost"))
    assert clean.cp.patch(f"/services/{services[3]}", {"port": fresh.port}).status == 200
    clean.synced()
    assert clean.dp[0].get("/3").status == 200
    for o in (origin, direct, fresh):
        o.stop()


def test_settings_for_upstreams(tmp_path, ca):
    origin = Origin(ca.server("localhost", file="up"), client_ca=ca)
    pair = ca.client("gateway")
    text = f"""
_format_version: "3.0"
services:
- {{name: a, url: "https://localhost:{origin.port}", retries: 0, routes: [{{name: a, paths: [/a]}}]}}
- {{name: b, url: "https://localhost:{origin.port}", retries: 0, tls_verify: false, routes: [{{name: b, paths: [/b]}}]}}
- {{name: c, url: "https://localhost:{origin.port}", retries: 0, ca_certificates: [11111111-2222-4333-8444-000000000001], routes: [{{name: c, paths: [/c]}}]}}
"""
    flags = ("--tls-certificate-verify", "--client-ssl", "--client-ssl-cert", pair.cert_file,
             "--client-ssl-cert-key", pair.key_file)
    for trusted, wanted in (("system", {"/a": 502, "/b": 200, "/c": 502}),
                            (f"system, {ca.pair.cert_file}", {"/a": 200, "/b": 200, "/c": 502})):
        folder = tmp_path / str(len(trusted))
        folder.mkdir()
        with Plane(folder, *flags, "--lua-ssl-trusted-certificate", trusted, text=text) as dp:
            for path, status in wanted.items():
                got = dp.get(path)
                assert got.status == status, (trusted, path, got)
                assert status != 200 or got.text == "gateway"
    origin.stop()


def test_whose_client_certificate_is_shown(clean, ca):
    origin = Origin(ca.server("localhost", file="up2"), client_ca=ca)
    ids = {}
    for name in ("of-service", "of-upstream"):
        pair = ca.client(name)
        ids[name] = make(clean.cp, "certificates", cert=pair.cert, key=pair.key)
    upstream = make(clean.cp, "upstreams", name="u.test")
    make(clean.cp, f"upstreams/{upstream}/targets", target=f"localhost:{origin.port}")
    plain = make(clean.cp, "services", url="https://u.test")
    own = make(clean.cp, "services", url="https://u.test", client_certificate={"id": ids["of-service"]})
    make(clean.cp, "routes", paths=["/plain"], service={"id": plain})
    make(clean.cp, "routes", paths=["/own"], service={"id": own})

    def who(path):
        clean.synced()
        return clean.dp[0].get(path).text

    assert (who("/plain"), who("/own")) == ("nobody", "of-service")
    clean.cp.patch(f"/upstreams/{upstream}", {"client_certificate": {"id": ids["of-upstream"]}})
    assert (who("/plain"), who("/own")) == ("of-upstream", "of-service")
    other = ca.client("renewed")
    clean.cp.patch(f"/certificates/{ids['of-upstream']}", {"cert": other.cert, "key": other.key})
    assert (who("/plain"), who("/own")) == ("renewed", "of-service")
    clean.cp.patch(f"/upstreams/{upstream}", {"client_certificate": None})
    assert (who("/plain"), who("/own")) == ("nobody", "of-service")
    origin.stop()


def test_sync_brings_authorities_and_routes_that_ask(clean, ca, tmp_path):
    """The second time there is nothing to do."""
    row = "11111111-2222-4333-8444-000000000009"
    pem = "".join(f"    {line}\n" for line in ca.pair.cert.splitlines())
    file = declarative(tmp_path, f"""
_format_version: "3.0"
ca_certificates:
- id: {row}
  cert: |
{pem}
services:
- name: up
  url: {clean.upstream.url}
  routes:
  - {{name: a, paths: [/], snis: [s.test], tls_verify_client: "on", tls_client_ca_certificates: [{row}]}}
""")
    for changes in (3, 0):
        out = subprocess.run([os.path.join(weir.BUILD, "weirctl"), "sync", "--admin-url", f"http://127.0.0.1:{clean.cp.port}",
                              file], capture_output=True, text=True, timeout=weir.PATIENCE)
        assert out.returncode == 0, out
        print(out.stdout)
        assert len(re.findall(r"^(?:creat|updat|delet|\+|~|-)", out.stdout, re.M)) == changes, out.stdout
    clean.synced()
    assert answer(clean.dp[0].tls_port, "s.test", ca.client("erin"))[0] == 200
    assert answer(clean.dp[0].tls_port, "s.test")[0] == 400
