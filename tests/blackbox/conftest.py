import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import weir  # noqa: E402


# half a request after an empty line is waited for
IMPATIENT = ("--admin-idle-timeout", "3s")


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind():
    """What a failing test left running ends with the session."""
    yield
    for process in weir.started:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A control plane, a data plane and an upstream, shared by the tests of a file."""
    with weir.Cluster(tmp_path_factory.mktemp("cluster"), cp_flags=IMPATIENT) as c:
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
