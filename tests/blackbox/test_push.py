"""The two planes and the ways they break: crashes, strangers, damaged snapshots."""
import glob
import os
import random
import shutil
import socket
import ssl
import subprocess
import threading

import weir


def route(cp, name, path, status):
    """A route that answers by itself."""
    assert cp.put(f"/routes/{name}", {"paths": [path]}).status == 200
    assert cp.post(f"/routes/{name}/plugins", {
        "name": "request-termination", "config": {"status_code": status}}).status == 201


def test_no_acknowledged_write_is_lost_when_the_control_plane_is_killed(tmp_path):
    """kill -9 at random moments in a loop of writes: what got a 2xx is there, the planes converge."""
    dice = random.Random(7)
    with weir.Cluster(tmp_path) as c:
        acknowledged, attempted = {}, 0
        for life in range(6):
            stop = threading.Event()

            def write():
                nonlocal attempted
                while not stop.is_set():
                    name = f"r{attempted:05d}"
                    attempted += 1
                    try:
                        answer = c.cp.put(f"/routes/{name}", {"paths": [f"/{name}"]})
                    except OSError:
                        return
                    except Exception as error:  # http.client: the answer was cut
                        assert "killed" or error
                        return
                    if answer.status == 200:
                        acknowledged[name] = answer["id"]

            writer = threading.Thread(target=write)
            before = len(acknowledged)
            writer.start()
            weir.wait_until(lambda: len(acknowledged) >= before + dice.randint(1, 40), "some writes")
            c.cp.kill()
            stop.set()
            writer.join()
            assert c.dp[0].get(f"/r{0:05d}").status == 503  # route without a service: still served
            c.cp.start()
            for name, identity in acknowledged.items():
                assert c.cp.get(f"/routes/{name}")["id"] == identity
        c.synced()
        for name in acknowledged:
            assert c.dp[0].get(f"/{name}").status == 503
        assert c.dp[0].get("/never").status == 404


def test_a_killed_data_plane_serves_from_its_disk_with_no_control_plane(tmp_path):
    with weir.Cluster(tmp_path) as c:
        route(c.cp, "a", "/a", 418)
        c.synced()
        dp = c.dp[0]
        weir.wait_until(lambda: glob.glob(os.path.join(dp.folder, "snapshot*")), "a snapshot on disk")
        weir.wait_until(lambda: dp.status()["configuration"]["saved_version"] == c.cp.nodes()[0]["applied_version"],
                        "the newest version on disk")
        c.cp.kill()
        dp.kill()
        dp.start()
        weir.wait_until(dp.ready, "the configuration from disk")
        assert dp.get("/a").status == 418
        # the control plane comes back: they find each other, and changes flow again
        c.cp.start()
        route(c.cp, "b", "/b", 419)
        c.synced()
        assert dp.get("/b").status == 419


def test_a_damaged_snapshot_on_disk_is_never_served(tmp_path):
    with weir.Cluster(tmp_path) as c:
        route(c.cp, "a", "/a", 418)
        c.synced()
        dp = c.dp[0]
        dp.stop()
        c.cp.stop()
        files = [f for f in glob.glob(os.path.join(dp.folder, "snapshot*")) if os.path.getsize(f)]
        assert files
        kept = os.path.join(str(tmp_path), "kept")
        os.mkdir(kept)
        for f in files:
            shutil.copy(f, kept)
        dice = random.Random(11)
        for attempt in range(8):
            for f in files:
                shutil.copy(os.path.join(kept, os.path.basename(f)), f)
            victim = dice.choice(files)
            data = bytearray(open(victim, "rb").read())
            if attempt % 2:
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            else:
                del data[dice.randrange(len(data)):]
            with open(victim, "wb") as out:
                out.write(data)
            dp.start()
            status = dp.get("/a").status
            # whole (a torn journal tail may fall back to an older good state) or nothing: never damaged
            assert status in (418, 404, 503), status
            dp.stop()
            for bad in glob.glob(os.path.join(dp.folder, "*.bad")):
                os.remove(bad)
        c.cp.start()
        dp.start()
        c.synced()
        assert dp.get("/a").status == 418


def test_without_a_certificate_of_the_cluster_there_is_nothing(tmp_path):
    with weir.Cluster(tmp_path) as c:
        route(c.cp, "a", "/a", 418)
        c.synced()
        foreign = weir.make_certs(os.path.join(str(tmp_path), "foreign"))
        stranger = weir.DataPlane(os.path.join(str(tmp_path), "stranger"), control_plane=c.cp.url,
                                  certs=foreign, name="stranger")
        stranger.start()
        # it must have tried, and failed, and still know nothing
        weir.wait_until(lambda: stranger.status()["control_plane"]["failed_attempts"] >= 2, "two attempts")
        assert not stranger.ready()
        assert stranger.get("/a").status == 503
        assert len(c.cp.nodes()) == 1
        stranger.stop()
        # a control plane's certificate does not make a data plane
        for name in ("crt", "key"):
            shutil.copy(f"{c.certs}/cp.{name}", f"{foreign}/dp.{name}")
        shutil.copy(f"{c.certs}/ca.crt", f"{foreign}/ca.crt")
        stranger.start()
        weir.wait_until(lambda: stranger.status()["control_plane"]["failed_attempts"] >= 2, "two attempts")
        assert stranger.get("/a").status == 503
        stranger.stop()
        # bare TCP, TLS without a certificate, and noise: all closed, and the port lives on
        for greeting in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(200)):
            with socket.create_connection(("127.0.0.1", c.cp.cluster_port), timeout=weir.PATIENCE) as s:
                s.sendall(greeting)
                if greeting:
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(4096):
                        pass
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", c.cp.cluster_port), timeout=weir.PATIENCE) as s:
            try:
                with context.wrap_socket(s) as t:
                    t.sendall(b"\0\0\0\4abcd")
                    assert t.recv(4096) == b""
            except (ssl.SSLError, ConnectionError):
                pass
        route(c.cp, "b", "/b", 419)
        c.synced()
        assert c.dp[0].get("/b").status == 419


def test_a_data_plane_that_was_away_catches_up(tmp_path):
    with weir.Cluster(tmp_path, planes=2) as c:
        route(c.cp, "a", "/a", 418)
        c.synced()
        c.dp[1].stop()
        for i in range(30):
            route(c.cp, f"x{i}", f"/x{i}", 420 + i % 9)
        assert c.cp.delete("/routes/a").status == 204
        c.dp[1].start()
        c.synced()
        for dp in c.dp:
            assert dp.get("/a").status == 404
            assert all(dp.get(f"/x{i}").status == 420 + i % 9 for i in range(30))


def test_certificates_are_made_once(tmp_path):
    certs = weir.make_certs(os.path.join(str(tmp_path), "certs"))
    assert sorted(os.listdir(certs)) == ["ca.crt", "ca.key", "cp.crt", "cp.key", "dp.crt", "dp.key"]
    for name in ("ca.key", "cp.key", "dp.key"):
        assert os.stat(os.path.join(certs, name)).st_mode & 0o077 == 0
    before = open(os.path.join(certs, "ca.crt")).read()
    again = subprocess.run([os.path.join(weir.BUILD, "weirctl"), "cert", "--out", certs],
                           capture_output=True, text=True)
    assert open(os.path.join(certs, "ca.crt")).read() == before, again
