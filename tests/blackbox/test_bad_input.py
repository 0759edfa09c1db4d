"""Noise and bad input on every listener: clear errors, nothing half-written, nobody falls over."""
import json
import random

import raw
import weir


def everything(cp):
    return {kind: cp.get(f"/{kind}?size=1000")["data"] for kind in (
        "services", "routes", "consumers", "plugins", "upstreams", "certificates", "snis", "key-auths")}


def test_bad_bodies_change_nothing(clean):
    cp = clean.cp
    before = everything(cp), cp.version()
    cases = [
        ("POST", "/services", b"{", {"Content-Type": "application/json"}, 400),
        ("POST", "/services", b"[]", {"Content-Type": "application/json"}, 400),
        ("POST", "/services", b"\xff\xfe", {"Content-Type": "application/json"}, 400),
        ("POST", "/services", b'{"name":"a\\u0000b","host":"h"}', {"Content-Type": "application/json"}, 400),
        ("POST", "/services", b"<x/>", {"Content-Type": "text/xml"}, 415),
        ("POST", "/services", b"[" * 100000, {"Content-Type": "application/json"}, 400),
        ("POST", "/services", json.dumps({"host": "h", "tags": ["x" * 3000000, "y" * 9000000]}).encode(),
         {"Content-Type": "application/json"}, 413),
        ("POST", "/services", {"host": "h", "nonsense": 1}, {}, 400),
        ("POST", "/services", {"host": "h", "port": 70000}, {}, 400),
        ("POST", "/services", {"host": "h", "port": 1e300}, {}, 400),
        ("POST", "/routes", {"paths": ["~/(unclosed"]}, {}, 400),
        ("POST", "/routes", {"paths": ["/a"], "service": {"id": "00000000-0000-4000-8000-000000000000"}}, {}, 400),
        ("POST", "/routes", {"paths": ["/a"], "service": {"name": "nope"}}, {}, 400),
        ("POST", "/plugins", {"name": "nope"}, {}, 400),
        ("POST", "/plugins", {"name": "rate-limiting", "config": {"minute": -1}}, {}, 400),
        ("POST", "/certificates", {"cert": "x", "key": "y"}, {}, 400),
        ("POST", "/nonsense", {"a": 1}, {}, 404),
        ("PATCH", "/services/nope", {"host": "h"}, {}, 404),
        ("FROB", "/services", None, {}, 405),
    ]
    for method, path, body, headers, status in cases:
        answer = cp.request(method, path, body, headers)
        assert answer.status == status, (method, path, str(body)[:200], answer)
        if status != 415:
            assert answer.json["message"], answer
    assert (everything(cp), cp.version()) == before


def test_batches_of_good_and_bad_writes_do_not_mix(clean):
    """Writes that queue up together are committed together, but fail alone."""
    import threading
    cp = clean.cp
    statuses = {}

    def write(i):
        body = {"name": f"s{i}", "host": "h"} if i % 3 else {"name": f"s{i}", "host": "h", "port": -1}
        if i % 3 == 2:
            body["client_certificate"] = {"id": "00000000-0000-4000-8000-000000000000"}
            body["protocol"] = "https"
        statuses[i] = cp.post("/services", body).status

    threads = [threading.Thread(target=write, args=(i,)) for i in range(60)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(status == (201 if i % 3 == 1 else 400) for i, status in statuses.items()), statuses
    names = {row["name"] for row in cp.get("/services?size=1000")["data"]}
    assert names == {f"s{i}" for i in range(60) if i % 3 == 1}


def test_noise_on_every_port(clean):
    c = clean
    dice = random.Random(5)
    ports = [c.cp.port, c.cp.status_port, c.cp.cluster_port, c.dp[0].port, c.dp[0].tls_port, c.dp[0].status_port]
    for port in ports:
        for _ in range(40):
            raw.talk(port, dice.randbytes(dice.randrange(1, 2000)) + b"\r\n\r\n", half_close=True)
    assert c.cp.get("/services").status == 200
    assert weir.request(c.cp.status_port, "GET", "/status").status == 200
    assert c.dp[0].get("/nothing").status == 404
    assert c.dp[0].ready()
    assert c.cp.put("/routes/after-noise", {"paths": ["/after-noise"]}).status == 200
    c.synced()
    assert c.dp[0].get("/after-noise").status == 503


def test_the_admin_api_takes_no_smuggled_request(clean):
    cp = clean.cp
    for head in (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 0\r\nContent-Length: 44\r\n"):
        out = raw.talk(cp.port, b"POST /services HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n0\r\n\r\n"
                       b"DELETE /services/x HTTP/1.1\r\nHost: a\r\n\r\n", half_close=True)
        assert out.count(b"HTTP/1.1 ") == 1 and b" 400 " in out.split(b"\r\n")[0], out


def test_a_certificate_of_a_browser_page_is_refused_with_its_field(clean):
    answer = clean.cp.post("/certificates", {"cert": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
                                             "key": "x"})
    assert answer.status == 400 and set(answer["fields"]) == {"cert", "key"}, answer
