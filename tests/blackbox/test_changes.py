"""Configuration changes under traffic: no request fails, none is routed wrongly."""
import http.client
import threading

CHANGES = 1000
CLIENTS = 6


def test_a_thousand_changes_under_load_cost_no_request(clean):
    """
    Clients ask for /stable-N, which must always be answered by upstream path /sN, while every
    kind of change goes on around them: routes and services come, change and go, plugins too.
    """
    c = clean
    cp, port = c.cp, c.dp[0].port
    assert cp.put("/services/up", {"url": c.upstream.url}).status == 200
    for i in range(CLIENTS):
        assert cp.put(f"/services/s{i}", {"url": f"{c.upstream.url}/s{i}"}).status == 200
        assert cp.put(f"/routes/stable-{i}", {"paths": [f"/stable-{i}"], "service": {"name": f"s{i}"}}).status == 200
    c.synced()

    done = threading.Event()
    failures, counts = [], [0] * CLIENTS

    def client(i):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            while not done.is_set():
                connection.request("GET", f"/stable-{i}/{counts[i]}")
                response = connection.getresponse()
                body = response.read()
                wanted = f'"path": "/s{i}/{counts[i]}"'.encode()
                if response.status != 200 or wanted not in body:
                    failures.append((i, counts[i], response.status, body[:300]))
                    return
                counts[i] += 1
        except (OSError, http.client.HTTPException) as error:
            failures.append((i, counts[i], repr(error)))
        finally:
            connection.close()

    clients = [threading.Thread(target=client, args=(i,)) for i in range(CLIENTS)]
    for t in clients:
        t.start()
    try:
        n = 0
        while n < CHANGES and not failures:
            k = n // 8
            steps = [
                lambda: cp.put(f"/services/t{k}", {"url": f"{c.upstream.url}/t{k}"}),
                lambda: cp.put(f"/routes/t{k}", {"paths": [f"/t{k}", f"/stable-x{k}"], "service": {"name": f"t{k}"}}),
                lambda: cp.patch(f"/routes/t{k}", {"hosts": [f"h{k}.test"]}),
                lambda: cp.post(f"/services/t{k}/plugins", {"name": "correlation-id"}),
                lambda: cp.patch(f"/services/s{k % CLIENTS}", {"retries": k % 7}),
                lambda: cp.patch(f"/routes/stable-{k % CLIENTS}", {"tags": [f"t{k}"]}),
                lambda: cp.delete(f"/routes/t{k}"),
                lambda: cp.delete(f"/services/t{k}"),
            ]
            answer = steps[n % 8]()
            assert answer.status in (200, 201, 204), (n, answer)
            n += 1
    finally:
        done.set()
        for t in clients:
            t.join()
    assert not failures, failures[:3]
    assert min(counts) > 50, counts
    c.synced()
    assert c.dp[0].status()["configuration"]["version"] == cp.version()
