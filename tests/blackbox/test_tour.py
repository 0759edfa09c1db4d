"""The README's tour on one control plane and two data planes, and what follows from it."""
import pytest

import weir


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with weir.Cluster(tmp_path_factory.mktemp("two"), planes=2) as c:
        yield c


def test_service_route_key_and_limit_apply_on_both_planes(two):
    cp, up = two.cp, two.upstream
    assert cp.post("/services", {"name": "orders", "url": up.url + "/base"}).status == 201
    assert cp.post("/services/orders/routes", {"name": "orders", "paths": ["/orders"]}).status == 201
    two.synced()
    for dp in two.dp:
        answer = dp.get("/orders/7?x=1")
        assert answer.status == 200
        assert answer["path"] == "/base/7?x=1"
        assert answer.header("Via") == "1.1 weir/0.1.0"

    assert cp.post("/services/orders/plugins", {"name": "key-auth"}).status == 201
    assert cp.post("/consumers", {"username": "ann"}).status == 201
    assert cp.post("/consumers/ann/key-auth", {"key": "secret-of-ann"}).status == 201
    two.synced()
    for dp in two.dp:
        assert dp.get("/orders").status == 401
        assert dp.get("/orders", headers={"apikey": "wrong"}).status == 401
        answer = dp.get("/orders", headers={"apikey": "secret-of-ann"})
        assert answer.status == 200
        assert ["X-Consumer-Username", "ann"] in answer["headers"]

    assert cp.post("/routes/orders/plugins", {"name": "rate-limiting", "config": {"hour": 3}}).status == 201
    two.synced()
    for dp in two.dp:  # policy local: each node counts for itself, exactly
        statuses = [dp.get("/orders", headers={"apikey": "secret-of-ann"}).status for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]

    nodes = cp.nodes()
    assert len(nodes) == 2 and all(n["connected"] for n in nodes)
    assert len({n["config_hash"] for n in nodes}) == 1

    # deletions travel too
    for plugin in cp.get("/plugins")["data"]:
        assert cp.delete(f"/plugins/{plugin['id']}").status == 204
    two.synced()
    assert all(dp.get("/orders").status == 200 for dp in two.dp)
    assert cp.delete("/routes/orders").status == 204
    assert cp.delete("/services/orders").status == 204
    two.synced()
    for dp in two.dp:
        answer = dp.get("/orders")
        assert answer.status == 404
        assert answer["message"] == "no Route matched with those values"
