import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import weir  # noqa: E402


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A control plane, a data plane and an upstream, shared by the tests of a file."""
    with weir.Cluster(tmp_path_factory.mktemp("cluster")) as c:
        yield c


@pytest.fixture
def clean(cluster):
    """The shared cluster, empty."""
    for kind in ("plugins", "routes", "services", "consumers", "upstreams", "snis", "certificates"):
        while rows := cluster.cp.get(f"/{kind}?size=1000")["data"]:
            for row in rows:
                assert cluster.cp.delete(f"/{kind}/{row['id']}").status == 204
    cluster.upstream.requests.clear()
    cluster.upstream.reply = lambda seen: None
    return cluster
