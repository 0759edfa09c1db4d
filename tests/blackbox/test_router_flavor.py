"""The router flavors, from the Admin API to requests: expressions, their errors, and who sees them."""
import subprocess

import pytest
import weir

FLAVOR = ("--router-flavor", "expressions")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with weir.Cluster(tmp_path_factory.mktemp("expressions"), cp_flags=FLAVOR, dp_flags=FLAVOR) as c:
        c.cp.post("/services", {"name": "echo", "url": c.upstream.url})
        yield c


def put_route(c, name, **fields):
    answer = c.cp.put(f"/services/echo/routes/{name}", fields)
    assert answer.status == 200, answer
    c.synced()
    return answer.json


def test_an_expression_routes_and_strips(cluster):
    route = put_route(cluster, "v1", expression='http.path ^= "/v1" && any(lower(http.headers.x_beta)) == "yes"',
                      priority=7)
    assert (route["priority"], route["paths"], route["protocols"]) == (7, None, ["http", "https"])
    dp = cluster.dp[0]
    weir.wait_until(lambda: dp.get("/v1/users", headers={"X-Beta": "YES"}).status == 200, "the route")
    assert dp.get("/v1/users", headers={"X-Beta": "YES"})["path"] == "/users"
    assert dp.get("/v1/users", headers={"X-Beta": "no"}).status == 404
    assert dp.get("/v1/users").status == 404
    cluster.cp.delete("/routes/v1")


def test_expressions_stand_above_classic_routes_and_among_each_other_by_priority(cluster):
    put_route(cluster, "classic", paths=["/p"], hosts=["p.com"], methods=["GET"], strip_path=False)
    dp, host = cluster.dp[0], {"Host": "p.com"}
    weir.wait_until(lambda: dp.get("/p/x", headers=host).status == 200, "the classic route")
    assert dp.get("/p/x", headers=host)["path"] == "/p/x"
    put_route(cluster, "low", expression='http.path ^= "/p"')
    weir.wait_until(lambda: dp.get("/p/x", headers=host)["path"] == "/x", "the expression")
    put_route(cluster, "high", expression='net.src.ip in 127.0.0.0/8 && http.path ^= "/p/"', priority=1)
    weir.wait_until(lambda: dp.get("/p/xy", headers=host)["path"] == "/xy", "the higher one")
    for name in ("classic", "low", "high"):
        cluster.cp.delete(f"/routes/{name}")


def test_addresses_of_a_classic_route_count(cluster):
    put_route(cluster, "from-afar", paths=["/afar"], sources=[{"ip": "10.0.0.0/8"}])
    put_route(cluster, "from-here", paths=["/here"], sources=[{"ip": "127.0.0.0/8"}])
    dp = cluster.dp[0]
    weir.wait_until(lambda: dp.get("/here").status == 200, "the route")
    assert dp.get("/afar").status == 404
    for name in ("from-afar", "from-here"):
        cluster.cp.delete(f"/routes/{name}")


@pytest.mark.parametrize("body,message", [
    ({"expression": "http.path = 1"},
     "schema violation (Router Expression failed validation: expected an operator: == != ~ ^= =^ contains > >= < <= "
     "in, not in, found '=' at 1:11)"),
    ({"expression": 'http.path == "/"', "paths": ["/"]},
     "schema violation (Router Expression failed validation: cannot set 'expression' with 'methods', 'hosts', "
     "'paths', 'headers', 'snis', 'sources' or 'destinations' simultaneously)"),
    ({"protocols": ["http"]},
     "schema violation (must set one of 'methods', 'hosts', 'headers', 'paths', 'sources', 'destinations', "
     "'expression' when 'protocols' is 'http')"),
])
def test_what_is_wrong_is_refused_when_written(cluster, body, message):
    answer = cluster.cp.post("/services/echo/routes", body)
    assert (answer.status, answer["name"], answer["message"]) == (400, "schema violation", message)


def test_sync_brings_expressions(cluster, tmp_path):
    file = tmp_path / "weir.yaml"
    file.write_text(f"""
_format_version: "3.0"
services:
- name: echo
  url: {cluster.upstream.url}
  routes:
  - {{name: synced, expression: 'http.path == "/synced"', priority: 3}}
""")
    def sync():
        return subprocess.run([weir.os.path.join(weir.BUILD, "weirctl"), "sync", "--admin-url",
                               f"http://127.0.0.1:{cluster.cp.port}", str(file)], capture_output=True, text=True)
    result = sync()
    assert result.returncode == 0, result.stderr
    assert cluster.cp.get("/routes/synced")["expression"] == 'http.path == "/synced"'
    assert sync().stdout.count("\n") <= 1  # nothing is left to change
    weir.wait_until(lambda: cluster.dp[0].get("/synced").status == 200, "the route")
    cluster.cp.delete("/routes/synced")


def test_other_flavors_know_of_no_expressions(tmp_path):
    with weir.Cluster(tmp_path, cp_flags=("--router-flavor", "traditional"),
                      dp_flags=("--router-flavor", "traditional")) as c:
        c.cp.post("/services", {"name": "echo", "url": c.upstream.url + "/base"})
        answer = c.cp.post("/services/echo/routes", {"paths": ["/r"], "path_handling": "v1"})
        assert answer.status == 201
        assert not {"expression", "priority"} & set(answer.json)
        assert not {"expression", "priority"} & set(c.cp.get("/routes")["data"][0])
        assert "expression" not in c.cp.get("/schemas/routes").text
        refused = c.cp.post("/routes", {"expression": 'http.path == "/"', "paths": ["/"]})
        assert (refused.status, refused["fields"]) == (400, {"expression": "unknown field"})
        changed = c.cp.patch(f"/routes/{answer['id']}", {"path_handling": "v1"})
        assert changed.status == 200, changed
        weir.wait_until(lambda: c.dp[0].get("/rx").status == 200, "the route")
        assert c.dp[0].get("/rx")["path"] == "/basex"  # put behind each other as they are
        assert c.cp.get("/")["configuration"]["router_flavor"] == "traditional"


def test_a_file_with_expressions(tmp_path):
    upstream = weir.Upstream()
    file = tmp_path / "weir.yaml"
    file.write_text(f"""
_format_version: "3.0"
services:
- name: echo
  url: {upstream.url}
  routes:
  - {{name: one, expression: 'http.path ^= "/file"'}}
""")
    dp = weir.DataPlane(tmp_path / "dp", *FLAVOR, declarative=file)
    try:
        dp.start()
        assert dp.get("/file/x")["path"] == "/x"
    finally:
        dp.stop()
        upstream.stop()
    assert "unknown field" in weir.DataPlane(tmp_path / "classic", declarative=file).fails()
