#!/usr/bin/env python3
"""From the Admin API's 2xx to active on all workers: prints the distribution.

    make bench          or    tests/bench/change_latency.py [--routes 10,10000,100000] [--planes 1,20]

Two measures of the same change (a PATCH of one route):
  active   until the control plane has the data plane's word that every worker uses it
           (asked over one kept connection, so the asking is in the figure)
  seen     until a request through the proxy is answered by the new configuration
Judges nothing: figures depend on the machine.
"""
import argparse
import http.client
import json
import os
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "blackbox"))

import weir  # noqa: E402


class Kept:
    """One kept connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def __call__(self, method, path, body=None):
        self.connection.request(method, path, json.dumps(body) if body is not None else None,
                                {"Content-Type": "application/json"} if body is not None else {})
        response = self.connection.getresponse()
        data = response.read()
        assert response.status < 300 or response.status in (418, 419), (method, path, response.status, data[:300])
        return response, json.loads(data) if data else None


def percentile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def show(label, planes, routes, values):
    print(f"| {label} | {planes} | {routes} | {statistics.median(values):.2f} | {percentile(values, .9):.2f} | "
          f"{percentile(values, .99):.2f} | {max(values):.2f} |", flush=True)


def measure(c, routes, changes):
    admin, proxy = Kept(c.cp.port), Kept(c.dp[0].port)
    seen, active = [], []
    admin("PUT", "/routes/probe", {"paths": ["/probe-me"]})
    plugin = admin("PUT", "/routes/probe/plugins/11111111-1111-4111-8111-111111111111", {
        "name": "request-termination", "config": {"status_code": 418, "message": "0"}})[1]
    c.synced()
    for i in range(1, changes + 1):
        status = 418 + i % 2
        response, _ = admin("PATCH", f"/plugins/{plugin['id']}", {"config": {"status_code": status}})
        began = time.monotonic()
        while proxy("GET", "/probe-me")[0].status != status:
            pass
        seen.append((time.monotonic() - began) * 1e3)
    for i in range(1, changes + 1):
        response, _ = admin("PATCH", f"/plugins/{plugin['id']}", {"config": {"message": str(i)}})
        version = int(response.getheader("X-Weir-Config-Version"))
        began = time.monotonic()
        while any((n["applied_version"] or 0) < version
                  for n in admin("GET", "/clustering/data-planes?size=1000")[1]["data"]):
            pass
        active.append((time.monotonic() - began) * 1e3)
    show("seen by a request", len(c.dp), routes, seen)
    show("active on all workers of all planes", len(c.dp), routes, active)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--routes", default="10,10000,100000")
    parser.add_argument("--planes", default="1,20", help="data planes; beyond the first count with 10 routes")
    parser.add_argument("--changes", type=int, default=200)
    args = parser.parse_args()
    planes = [int(p) for p in args.planes.split(",")]
    print("| from the 2xx until | data planes | routes | median ms | p90 | p99 | max |\n|---|---|---|---|---|---|---|")
    for n in planes:
        with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder, \
                weir.Cluster(folder, planes=n, workers=2 if n == 1 else 1) as c:
            have = 0
            for routes in [int(r) for r in args.routes.split(",")] if n == planes[0] else [10]:
                admin = Kept(c.cp.port)
                admin("PUT", "/services/bench", {"url": "http://127.0.0.1:9"})
                for i in range(have, routes):
                    admin("PUT", f"/routes/r{i:06d}", {"paths": [f"/r{i:06d}/"], "service": {"name": "bench"}})
                have = routes
                c.synced()
                measure(c, routes, args.changes)


if __name__ == "__main__":
    main()
