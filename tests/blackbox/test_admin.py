"""The Admin API against clients that are slow, many, odd, or all at once."""
import json
import signal
import socket
import threading

import pytest
import raw
import weir

IDLE = 1  # seconds a silent client keeps its connection here


@pytest.fixture(scope="module")
def admin(tmp_path_factory):
    with weir.Cluster(tmp_path_factory.mktemp("admin"), planes=0,
                      cp_flags=("--admin-idle-timeout", f"{IDLE}s", "--admin-max-connections", "4000")) as c:
        yield c.cp


def at_once(n, work):
    """work(i) in n threads that start together; what they returned."""
    barrier, out = threading.Barrier(n), [None] * n

    def run(i):
        barrier.wait()
        out[i] = work(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return out


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=weir.PATIENCE)


# ---- many at once: none lost, none doubled ----

def test_concurrent_patches_of_one_row_all_count(admin):
    assert admin.put("/services/one", {"host": "h.test", "tags": []}).status == 200
    fields = ["retries", "connect_timeout", "read_timeout", "write_timeout", "port", "path", "tags", "host"]
    values = {"path": "/p{}", "tags": None, "host": "h{}.test"}
    for turn in range(5):
        def change(i):
            name = fields[i]
            value = 100 + turn
            if name in values:
                value = [f"t{turn}"] if name == "tags" else values[name].format(turn)
            return name, value, admin.patch("/services/one", {name: value}).status

        done = at_once(len(fields), change)
        row = admin.get("/services/one").json
        for name, value, status in done:
            assert status == 200 and row[name] == value, (turn, name, row)


def test_a_storm_of_puts_makes_one_row(admin):
    bodies = at_once(32, lambda i: admin.put("/consumers/storm", {"custom_id": f"c{i}"}))
    assert {b.status for b in bodies} == {200}
    assert len({b["id"] for b in bodies}) == 1
    assert len([r for r in admin.get("/consumers?size=1000")["data"] if r["username"] == "storm"]) == 1
    statuses = [s.status for s in at_once(32, lambda i: admin.post("/consumers", {"username": "storm2"}))]
    assert sorted(statuses) == [201] + [409] * 31


def test_a_storm_of_puts_on_a_link_makes_one_parent(admin):
    assert admin.put("/routes/lonely", {"paths": ["/lonely"]}).status == 200
    before = len(admin.get("/services?size=1000")["data"])
    answers = at_once(16, lambda i: admin.put("/routes/lonely/service", {"host": f"h{i}.test"}))
    assert {a.status for a in answers} == {200}, answers
    assert len(admin.get("/services?size=1000")["data"]) == before + 1


# ---- slow and silent clients ----

def test_slow_heads_and_bodies_and_idle_connections_are_let_go(admin):
    begins = [b"", b"GET", b"GET /services HTTP/1.1\r\nHost: a\r\nX-", b"\r\n",
              b"POST /services HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
              b"POST /services HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"]
    before = len(admin.get("/services?size=1000")["data"])
    socks = [connect(admin.port) for _ in range(10 * len(begins))]
    for i, s in enumerate(socks):
        s.sendall(begins[i % len(begins)])
    assert admin.get("/status").status == 200
    for s in socks:  # each ends, with an answer or without one
        with s:
            while s.recv(4096):
                pass
    assert len(admin.get("/services?size=1000")["data"]) == before


def test_a_thousand_idle_connections_leave_room(admin):
    socks = [connect(admin.port) for _ in range(1000)]
    try:
        assert {a.status for a in at_once(16, lambda i: admin.get("/services"))} == {200}
        assert admin.put("/consumers/amid", {"custom_id": "idle"}).status == 200
    finally:
        for s in socks:
            s.close()
    weir.wait_until(lambda: admin.get("/status")["server"]["connections_active"] < 100, "the end of them")


def test_pipelined_requests_are_answered_in_order(admin):
    with connect(admin.port) as s:
        wanted = []
        for i in range(20):
            body = json.dumps({"username": f"pipe{i}"}).encode()
            s.sendall(b"PUT /consumers/pipe%d HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                      b"Content-Length: %d\r\n\r\n" % (i, len(body)) + body +
                      b"GET /consumers/pipe%d HTTP/1.1\r\nHost: a\r\n\r\n" % i)
            wanted += [f"pipe{i}"] * 2
        rest = b""
        for name in wanted:
            head, body, rest = raw.read_response(s, rest)
            assert b" 200 " in head.split(b"\r\n")[0] and json.loads(body)["username"] == name


# ---- odd targets ----

def test_head_and_options_everywhere(admin):
    assert admin.put("/services/s", {"host": "h.test"}).status == 200
    paths = [p.replace("{certificates}", "a.test").replace("{services}", "s") for p in admin.get("/endpoints")["data"]]
    assert len(paths) > 40
    for path in paths:
        options = admin.request("OPTIONS", path)
        assert options.status in (204, 404) and bool(options.body) == (options.status == 404), (path, options)
        with connect(admin.port) as s:
            s.sendall(f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"
                      .replace("{", "%7B").replace("}", "%7D").encode())
            head, _, rest = raw.read_response(s, head_only=True)
            assert head.split()[1] in (b"200", b"400", b"404", b"405"), (path, head)
            second, body, _ = raw.read_response(s, rest)
            assert second.split()[1] == b"404" and json.loads(body) == {"message": "Not found"}, (path, second)


def test_odd_targets_get_clear_answers(admin):
    cases = [
        (b"/services/%", (400, 404)), (b"/services/%zz", (400, 404)), (b"/services/%0", (400, 404)),
        (b"/services/%00", (400,)), (b"/services/a%00b", (400,)), (b"/services/%ff%fe", (400,)),
        (b"/services/\xff\xfe", (400,)), (b"/services/%c0%af", (400,)), (b"/services/%ed%a0%80", (400,)),
        (b"/services/%2e%2e%2fx", (400, 404)), (b"/services/..", (400, 404)), (b"/services/a%2Fb", (400, 404)),
        (b"//services", (404,)), (b"/services//routes", (404,)), (b"/" * 3000, (404,)), (b"/%2f", (404,)),
        (b"/services?size=%ff", (400,)), (b"/services?%00=1", (400,)), (b"/services?" + b"&" * 200, (200, 400)),
        (b"/services?" + b"a=1&" * 5000, (400, None)), (b"/services?size=" + b"9" * 5000, (400,)),
        (b"/services?offset=" + b"A" * 5000, (400,)), (b"/services?tags=" + b"a," * 2000, (400,)),
        (b"*", (400,)), (b"services", (400,)), (b"ftp://a/services", (400,)), (b"http://other.test/services", (200,)),
        (b"/services/" + b"a" * 20000, (404,)), (b"/services?" + b"x" * 200000, (400, 413, 414, 431)),
    ]
    for target, statuses in cases:
        out = raw.talk(admin.port, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        status = int(out.split(b" ")[1]) if out else None
        assert status in statuses, (target[:60], out[:300])
        if b"application/json" in out.split(b"\r\n\r\n")[0]:
            json.loads(out.split(b"\r\n\r\n", 1)[1])
    assert admin.get("/status").status == 200


# ---- the end ----

def test_requests_while_it_stops_are_answered_or_cut_but_never_half_done(tmp_path):
    with weir.Cluster(tmp_path, planes=0) as c:
        cp, acknowledged, going = c.cp, [], threading.Event()

        def write(i):
            n = 0
            while True:
                name = f"w{i}-{n}"
                try:
                    if cp.put(f"/consumers/{name}", {"custom_id": name}).status != 200:
                        return
                except (OSError, Exception):
                    return
                acknowledged.append(name)
                n += 1
                if len(acknowledged) > 50:
                    going.set()

        threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        assert going.wait(weir.PATIENCE)
        cp.signal(signal.SIGTERM)
        for t in threads:
            t.join()
        cp.stop()
        cp.start()
        rows, path = set(), "/consumers?size=1000"
        while path:
            page = cp.get(path).json
            rows |= {r["username"] for r in page["data"]}
            path = page["next"]
        assert rows >= set(acknowledged)
