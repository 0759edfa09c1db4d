"""Attacks on the link between the planes, and machines that fail by halves."""
import contextlib
import hashlib
import os
import signal
import socket
import sqlite3
import ssl
import struct
import subprocess
import threading
import time
import uuid

import pytest
import weir

QUICK = ("--cluster-heartbeat", "300ms")
HELLO, WELCOME, CHUNK, DELTA, ACK, NACK, PING, STATUS, DRAIN = range(1, 10)
PLUGIN_TYPE = 9        # common/entities.h
HASH_ORDER = "little"  # proto/record.h


# ---- gwsync/1 by hand ----

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def message(fields):
    """[(number, int or bytes)...] as protobuf."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def parse(data):
    """Field number to its last value."""
    out, at = {}, 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            n |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                return n

    while at < len(data):
        tag = number()
        n = number()
        if tag & 7 == 2:
            out[tag >> 3], at = data[at:at + n], at + n
        else:
            out[tag >> 3] = n
    return out


def hello(**changes):
    fields = {"protocol": (1, 1), "node": (2, uuid.uuid4().bytes), "host": (3, b"attacker"), "version": (4, b"0")}
    fields.update(changes)
    return message(value for value in fields.values() if value)


class Peer:
    """A data plane that keeps to no rule; its certificate is good."""

    def __init__(self, cp, certs):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(f"{certs}/ca.crt")
        context.load_cert_chain(f"{certs}/dp.crt", f"{certs}/dp.key")
        raw = socket.create_connection(("127.0.0.1", cp.cluster_port), timeout=weir.PATIENCE)
        self.tls = context.wrap_socket(raw)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tls.close()

    def send_raw(self, data):
        with contextlib.suppress(OSError):
            self.tls.sendall(data)

    def send(self, kind, body=b""):
        frame = message([(kind, body)])
        self.send_raw(struct.pack(">I", len(frame)) + frame)

    def receive(self):
        """(kind, fields), pings left out; None when the other side has closed. Pings itself."""
        while True:
            while len(self.data) < 4 or len(self.data) < 4 + struct.unpack(">I", self.data[:4])[0]:
                try:
                    part = self.tls.recv(65536)
                except TimeoutError:
                    self.send(PING)
                    continue
                except (ConnectionError, ssl.SSLError):
                    part = b""
                if not part:
                    return None
                self.data += part
            end = 4 + struct.unpack(">I", self.data[:4])[0]
            (kind, body), = parse(self.data[4:end]).items()
            self.data = self.data[end:]
            if kind != PING:
                return kind, parse(body)

    def greet(self, **changes):
        self.send(HELLO, hello(**changes))
        kind, welcome = self.receive()
        assert kind == WELCOME
        self.tls.settimeout(0.1)
        return welcome

    def ends(self):
        while self.receive():
            pass
        return True


# ---- helpers ----

def answer_route(cp, name, status, body=None):
    """A route of its own path that answers by itself."""
    assert cp.put(f"/routes/{name}", {"paths": [f"/{name}"]}).status == 200
    config = {"status_code": status, **({"body": body} if body else {})}
    answer = cp.post(f"/routes/{name}/plugins", {"name": "request-termination", "config": config})
    assert answer.status == 201, answer
    return answer["id"]


def node_of(c, dp):
    identity = dp.status()["node_id"]
    return next((n for n in c.cp.nodes() if n["id"] == identity), {})


def still_well(c, name, status):
    """A change still finds its way to the real data plane."""
    answer_route(c.cp, name, status)
    c.synced()
    assert c.dp[0].get(f"/{name}").status == status


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    with weir.Cluster(tmp_path_factory.mktemp("quick"), cp_flags=QUICK, dp_flags=QUICK) as c:
        yield c


# ---- a peer with a good certificate and bad manners ----

FRAMES = {
    "an empty frame": struct.pack(">I", 0),
    "four gigabytes": struct.pack(">I", 0xffffffff),
    "one byte too many": struct.pack(">I", 65537) + bytes(65537),
    "no protobuf": struct.pack(">I", 4) + b"\xff\xff\xff\xff",
    "no kind": struct.pack(">I", 3) + message([(15, 1)]) + b"\0",
}
BODIES = {
    "an ack first": (ACK, message([(1, 1)])),
    "a welcome": (WELCOME, message([(1, bytes(16))])),
    "another protocol": (HELLO, hello(protocol=(1, 2))),
    "no node id": (HELLO, hello(node=None)),
    "a short node id": (HELLO, hello(node=(2, b"short"))),
    "a nil node id": (HELLO, hello(node=(2, bytes(16)))),
    "a control character": (HELLO, hello(host=(3, b"a\nb"))),
    "a long host name": (HELLO, hello(host=(3, b"a" * 1025))),
    "65 labels": (HELLO, hello() + message([(6, b"a:b")] * 65)),
    "thirty thousand labels": (HELLO, hello() + message([(6, b"")] * 30000)),
    "a hash without its length": (HELLO, hello(cluster=(7, bytes(range(16))), hash=(10, b"abc"))),
    "another cluster": (HELLO, hello(cluster=(7, bytes(range(16))), version_held=(9, 5), hash=(10, bytes(32)))),
}


def test_what_is_out_of_order_closes_its_own_connection(quick):
    nodes = len(quick.cp.nodes())
    for what, data in FRAMES.items():
        with Peer(quick.cp, quick.certs) as peer:
            peer.send_raw(data)
            assert peer.ends(), what
    for what, (kind, body) in BODIES.items():
        with Peer(quick.cp, quick.certs) as peer:
            peer.send(kind, body)
            assert peer.ends(), what
    assert len(quick.cp.nodes()) == nodes
    for what, kind, body in (("a second hello", HELLO, hello()), ("a chunk", CHUNK, message([(1, 1)])),
                             ("a drain", DRAIN, message([(1, 1)])), ("pieces never sent", ACK, message([(1, 1), (2, 99)]))):
        with Peer(quick.cp, quick.certs) as peer:
            answer_route(quick.cp, f"x{kind}", 418)
            peer.greet(node=(2, uuid.UUID(int=77).bytes))
            peer.send(kind, body)
            assert peer.ends(), what
    still_well(quick, "after-frames", 430)


def test_a_hello_in_drops_is_not_waited_for_for_ever(quick):
    frame = message([(HELLO, hello())])
    data = struct.pack(">I", len(frame)) + frame
    with Peer(quick.cp, quick.certs) as peer:
        began = time.monotonic()
        done = threading.Event()

        def drip():
            for byte in data:
                peer.send_raw(bytes([byte]))
                if done.wait(0.4):
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert peer.ends()
            assert time.monotonic() - began < 15
        finally:
            done.set()
            thread.join()
    still_well(quick, "after-drops", 431)


def test_odd_texts_of_a_node_are_shown_or_left_out(quick):
    node = uuid.uuid4()
    with Peer(quick.cp, quick.certs) as peer:
        peer.greet(node=(2, node.bytes), host=(3, b"\xff\xfe"), build=(5, '"<b>'.encode()), label=(6, b"no colon"))
        peer.send(NACK, message([(1, 2 ** 63), (5, b"cut in the middle \xc3"), (6, 9), (7, bytes(16))]))
        peer.send(ACK, message([(1, 2 ** 64 - 1), (3, 2 ** 64 - 1), (4, bytes(32)), (5, 2 ** 32 - 1)]))
        peer.send(NACK, message([(1, 7), (4, 0), (5, b"cut in the middle \xc3"), (6, 9), (7, node.bytes)]))

        def told():
            row = next((n for n in quick.cp.nodes() if n["id"] == str(node)), {})
            return row.get("last_error") and row["last_error"]["version"] == 7 and row

        row = weir.wait_until(told, "the refusal")
        assert row["labels"] == {"no colon": ""} and row["build"] == '"<b>'
        assert row["last_error"]["message"] == "cut in the middle "
        assert row["last_error"]["entity_id"] == str(node)
    still_well(quick, "after-texts", 432)


def test_who_refuses_everything_is_served_ever_more_slowly(quick):
    answer_route(quick.cp, "nacked", 418)
    with Peer(quick.cp, quick.certs) as peer:
        peer.greet()
        times = []
        for _ in range(3):
            kind, chunk = peer.receive()
            assert kind == CHUNK
            times.append(time.monotonic())
            peer.send(NACK, message([(1, chunk.get(1, 0)), (3, 1), (4, 1), (5, b"no")]))
        assert times[2] - times[1] > 0.9, times
        still_well(quick, "after-nacks", 433)
        for _ in range(200):  # nor does a flood of them get more
            peer.send(NACK, message([(1, chunk.get(1, 0)), (3, 1), (4, 1), (5, b"no")]))
        peer.send(WELCOME, message([(1, bytes(16))]))
        left = 0
        while peer.receive():
            left += 1
        assert left <= 2
    still_well(quick, "after-flood", 434)


def test_who_never_acknowledges_holds_nobody_up(quick):
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(Peer(quick.cp, quick.certs)).greet()
        for i in range(5):
            still_well(quick, f"beside-{i}", 440 + i)


def test_two_data_planes_with_one_id_do_not_fight_fast(tmp_path):
    identity = str(uuid.uuid4())
    with weir.Cluster(tmp_path, planes=0, cp_flags=QUICK) as c:
        planes = [weir.DataPlane(os.path.join(str(tmp_path), f"twin{i}"), "--node-id", identity, *QUICK,
                                 control_plane=c.cp.url, certs=c.certs) for i in range(2)]
        c.dp += planes
        began = time.monotonic()
        for dp in planes:
            dp.start()
        for i in range(3):
            answer_route(c.cp, f"t{i}", 418 + i)
            for dp in planes:
                weir.wait_until(lambda: dp.get(f"/t{i}").status == 418 + i, "both twins to follow")
        weir.wait_until(lambda: time.monotonic() > began + 4, "some seconds of it")
        connects = c.cp.log().count("node_connected")
        assert connects < 5 * (time.monotonic() - began), connects
        assert "same node id" in c.cp.log()


# ---- a configuration that data planes refuse ----

def change_behind_its_back(cp, sql, *args):
    db = sqlite3.connect(os.path.join(cp.folder, "weir.db"))
    db.execute(sql, args)
    db.commit()
    db.close()


def rename_plugin(cp, identity, name):
    """Gives a plugin's row a name no data plane knows, hash included, as a newer release might."""
    key = uuid.UUID(identity).bytes
    path = os.path.join(cp.folder, "weir.db")
    db = sqlite3.connect(path)
    (old_name, old_body), (total,) = (db.execute("SELECT name, pb FROM plugins WHERE id = ?", (key,)).fetchone(),
                                      db.execute("SELECT state_hash FROM meta").fetchone())
    assert len(old_name) == len(name)
    body = old_body.replace(old_name.encode(), name.encode())
    assert body != old_body

    def digest(data):
        return int.from_bytes(hashlib.sha256(bytes([PLUGIN_TYPE]) + key + data).digest(), HASH_ORDER)

    total = (int.from_bytes(total, HASH_ORDER) - digest(old_body) + digest(body)) % 2 ** 256
    db.execute("UPDATE plugins SET name = ?, pb = ? WHERE id = ?", (name, body, key))
    db.execute("UPDATE meta SET state_hash = ?", (total.to_bytes(32, HASH_ORDER),))
    db.commit()
    db.close()


def test_a_refused_configuration_is_told_with_its_entity_and_recovers(tmp_path):
    with weir.Cluster(tmp_path, planes=2, cp_flags=QUICK, dp_flags=QUICK) as c:
        plugin = answer_route(c.cp, "a", 418)
        c.synced()
        c.cp.stop()
        rename_plugin(c.cp, plugin, "request-terminatoin")
        c.cp.start()

        def refused():
            rows = [n for n in c.cp.nodes() if n["connected"]]
            return len(rows) == 2 and all(n["last_error"] for n in rows) and rows

        for row in weir.wait_until(refused, "both refusals"):
            assert row["last_error"]["entity_type"] == "plugins"
            assert row["last_error"]["entity_id"] == plugin
            assert "request-terminatoin" in row["last_error"]["message"]
        # the old configuration serves on, also over a newer version that is no better
        assert c.cp.put("/routes/b", {"paths": ["/b"]}).status == 200
        version = c.cp.version()
        weir.wait_until(lambda: all(n["last_error"]["version"] == version for n in c.cp.nodes()), "the next refusal")
        for dp in c.dp:
            assert dp.get("/a").status == 418
            assert dp.get("/b").status == 404
        assert c.cp.delete(f"/plugins/{plugin}").status == 204
        c.synced()
        assert all(n["last_error"] is None for n in c.cp.nodes())
        for dp in c.dp:
            assert dp.get("/a").status == 503
            assert dp.get("/b").status == 503


def test_another_cluster_and_an_older_epoch_are_refused(tmp_path):
    with weir.Cluster(tmp_path, cp_flags=QUICK, dp_flags=QUICK) as c:
        answer_route(c.cp, "a", 418)
        c.synced()
        dp, cp = c.dp[0], c.cp
        cp.stop()
        impostor = weir.ControlPlane(os.path.join(str(tmp_path), "other"), c.certs, *QUICK,
                                     ports=(cp.port, cp.cluster_port, cp.status_port))
        impostor.start()
        answer_route(impostor, "a", 419)
        weir.wait_until(lambda: "another cluster" in dp.status()["control_plane"]["last_error"], "the refusal")
        assert dp.get("/a").status == 418 and not impostor.nodes()
        impostor.stop()

        change_behind_its_back(cp, "UPDATE meta SET epoch = 7")
        cp.start()
        still_well(c, "epoch-7", 430)
        cp.stop()
        change_behind_its_back(cp, "UPDATE meta SET epoch = 6")
        cp.start()
        answer_route(cp, "epoch-6", 431)
        weir.wait_until(lambda: "epoch" in dp.status()["control_plane"]["last_error"], "the refusal")
        assert dp.get("/epoch-6").status == 404 and dp.get("/a").status == 418
        cp.stop()
        change_behind_its_back(cp, "UPDATE meta SET epoch = 8")
        cp.start()
        still_well(c, "epoch-8", 432)
        assert dp.get("/epoch-6").status == 431


# ---- links that break, freeze and come back ----

class Relay:
    """A wire with a tap: passes at most `limit` bytes to the data plane, and nothing while cut."""

    def __init__(self, port):
        self.to, self.limit, self.passed, self.streams = port, None, 0, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tls+tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        self.open = threading.Event()
        self.open.set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                down, _ = self.listener.accept()
                try:
                    up = socket.create_connection(("127.0.0.1", self.to))
                except OSError:
                    down.close()
                    continue
                self.streams += [down, up]
                threading.Thread(target=self.pump, args=(up, down, True), daemon=True).start()
                threading.Thread(target=self.pump, args=(down, up, False), daemon=True).start()

    def pump(self, source, sink, counted):
        with contextlib.suppress(OSError):
            while part := source.recv(16384):
                while not self.open.wait(1) or (counted and self.limit is not None and self.passed > self.limit):
                    if source.fileno() < 0:
                        return
                    time.sleep(0.005)
                if counted:
                    self.passed += len(part)
                sink.sendall(part)
        for s in (source, sink):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def stop(self):
        self.listener.close()
        self.open.set()
        self.limit = None
        for s in self.streams:
            s.close()


def test_the_control_plane_dies_in_the_middle_of_a_snapshot(tmp_path):
    with weir.Cluster(tmp_path, planes=0, cp_flags=QUICK) as c:
        relay = Relay(c.cp.cluster_port)
        relay.limit = 600000
        for i in range(60):
            answer_route(c.cp, f"big{i}", 418, "x" * 20000 + str(i))
        dp = weir.DataPlane(os.path.join(str(tmp_path), "dp"), *QUICK, control_plane=relay.url, certs=c.certs)
        c.dp.append(dp)
        dp.start()
        weir.wait_until(lambda: relay.passed > 600000, "half a snapshot")
        assert not dp.ready() and dp.get("/big0").status == 503
        c.cp.kill()
        c.cp.start()
        relay.limit = None
        c.synced()
        for i in (0, 59):
            answer = dp.get(f"/big{i}")
            assert answer.status == 418 and answer.text == "x" * 20000 + str(i)
        relay.stop()


def test_a_stopped_data_plane_is_noticed_and_holds_nobody_up(tmp_path):
    with weir.Cluster(tmp_path, planes=2, cp_flags=QUICK, dp_flags=QUICK) as c:
        answer_route(c.cp, "a", 418)
        c.synced()
        frozen, well = c.dp
        identity = frozen.status()["node_id"]
        frozen.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            for i in range(30):
                answer_route(c.cp, f"s{i}", 420 + i)
                weir.wait_until(lambda: well.get(f"/s{i}").status == 420 + i, "the other one to follow")
            weir.wait_until(lambda: not next(n for n in c.cp.nodes() if n["id"] == identity)["connected"],
                            "three heartbeats")
            assert "three heartbeats missed" in c.cp.log() or time.monotonic() - began > 20
        finally:
            frozen.signal(signal.SIGCONT)
        c.synced()
        assert frozen.get("/s29").status == 449


def test_a_frozen_wire_is_noticed_on_both_ends(tmp_path):
    """Established, acknowledged by the kernels, and nothing comes through any more."""
    with weir.Cluster(tmp_path, planes=0, cp_flags=QUICK) as c:
        relay = Relay(c.cp.cluster_port)
        dp = weir.DataPlane(os.path.join(str(tmp_path), "dp"), *QUICK, control_plane=relay.url, certs=c.certs)
        c.dp.append(dp)
        dp.start()
        answer_route(c.cp, "a", 418)
        c.synced()
        relay.open.clear()
        weir.wait_until(lambda: not dp.status()["control_plane"]["connected"], "the data plane to notice")
        weir.wait_until(lambda: not c.cp.nodes()[0]["connected"], "the control plane to notice")
        assert c.cp.log().count("three heartbeats missed") == 1
        assert dp.log().count("three heartbeats missed") == 1
        answer_route(c.cp, "b", 419)
        assert dp.get("/a").status == 418 and dp.get("/b").status == 404
        relay.open.set()
        c.synced()
        assert dp.get("/b").status == 419
        relay.stop()


def test_the_shorter_heartbeat_of_the_two_counts(tmp_path):
    """A control plane that would wait 15 s notices at the data plane's pace, and does not lose it."""
    with weir.Cluster(tmp_path, dp_flags=QUICK) as c:
        c.synced()
        began = time.monotonic()
        weir.wait_until(lambda: time.monotonic() > began + 2, "more than three of its heartbeats")
        assert c.cp.nodes()[0]["connected"] and c.cp.log().count("node_connected") == 1
        c.dp[0].signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            weir.wait_until(lambda: not c.cp.nodes()[0]["connected"], "the short heartbeat")
            assert time.monotonic() - began < 10
        finally:
            c.dp[0].signal(signal.SIGCONT)
        c.synced()


def ip(*args, check=True):
    return subprocess.run(["ip", *args], check=check, capture_output=True, text=True)


@pytest.fixture
def wire():
    """root NET.1 -- bridge in a namespace of its own -- NET.2 in another; mid, far, NET."""
    tag, net = f"w{os.getpid() % 10000}", f"10.213.{os.getpid() % 256}"
    mid, far = tag + "m", tag + "f"
    probe = ip("netns", "add", mid, check=False)
    if probe.returncode:
        pytest.skip(f"network namespaces are not permitted here: {probe.stderr.strip()}")
    try:
        ip("netns", "add", far)
        ip("link", "add", tag + "r", "type", "veth", "peer", "name", "m0", "netns", mid)
        ip("-n", mid, "link", "add", "m1", "type", "veth", "peer", "name", "f0", "netns", far)
        ip("-n", mid, "link", "add", "br0", "type", "bridge")
        for port in ("m0", "m1"):
            ip("-n", mid, "link", "set", port, "master", "br0", "up")
        ip("-n", mid, "link", "set", "br0", "up")
        ip("addr", "add", net + ".1/24", "dev", tag + "r")
        ip("link", "set", tag + "r", "up")
        ip("-n", far, "addr", "add", net + ".2/24", "dev", "f0")
        for dev in ("lo", "f0"):
            ip("-n", far, "link", "set", dev, "up")
        yield mid, far, net
    finally:
        ip("link", "del", tag + "r", check=False)
        for space in (far, mid):
            ip("netns", "del", space, check=False)


def test_a_network_that_drops_all_packets_is_noticed_on_both_ends(wire, tmp_path):
    mid, far, net = wire
    certs = weir.make_certs(os.path.join(str(tmp_path), "certs"))
    cp = weir.ControlPlane(os.path.join(str(tmp_path), "cp"), certs, *QUICK)
    at = cp.args.index("--cluster-listen") + 1
    cp.args[at] = f"{net}.1:{cp.cluster_port}"
    dp = weir.DataPlane(os.path.join(str(tmp_path), "dp"), *QUICK, certs=certs,
                        control_plane=f"tls+tcp://{net}.1:{cp.cluster_port}")
    dp.args = ["ip", "netns", "exec", far, *dp.args]
    cp.start()
    try:
        answer_route(cp, "a", 418)
        dp.start()
        weir.wait_until(lambda: cp.nodes() and cp.nodes()[0]["applied_version"] == cp.version() > 0, "the first one")
        ip("-n", mid, "link", "set", "br0", "down")
        weir.wait_until(lambda: not cp.nodes()[0]["connected"], "the control plane to notice")
        weir.wait_until(lambda: "three heartbeats missed" in dp.log(), "the data plane to notice")
        assert "three heartbeats missed" in cp.log()
        answer_route(cp, "b", 419)
        ip("-n", mid, "link", "set", "br0", "up")
        weir.wait_until(lambda: cp.nodes()[0]["connected"] and cp.nodes()[0]["behind"] == 0, "both to meet again")
    finally:
        dp.stop()
        cp.stop()


# ---- a full disk ----

@contextlib.contextmanager
def small_disk(folder, size):
    os.makedirs(folder, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting a small disk is not permitted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def keep_data_on(program, folder):
    """Its log stays where it is."""
    program.args[program.args.index("--data-dir") + 1] = folder


def fill(folder):
    """Leaves no block free; returns the file that took them."""
    name = os.path.join(folder, "ballast")
    with open(name, "wb", buffering=0) as f, contextlib.suppress(OSError):
        while True:
            f.write(bytes(4096))
    return name


def test_a_data_plane_with_a_full_disk_serves_on_and_saves_later(tmp_path):
    c = weir.Cluster(tmp_path, cp_flags=QUICK, dp_flags=QUICK)
    dp = c.dp[0]
    with small_disk(os.path.join(str(tmp_path), "disk"), "512k") as disk:
        keep_data_on(dp, disk)
        with c:
            answer_route(c.cp, "a", 418)
            c.synced()
            weir.wait_until(lambda: dp.status()["configuration"]["saved_version"] == c.cp.version(), "the first save")
            ballast = fill(disk)
            for i in range(3):
                answer_route(c.cp, f"f{i}", 420 + i, "x" * 10000)
                c.synced()
                assert dp.get(f"/f{i}").status == 420 + i
            weir.wait_until(lambda: "cache_write_failed" in dp.log(), "the failure in the log")
            assert dp.status()["configuration"]["saved_version"] < c.cp.version()
            os.remove(ballast)  # nothing changes any more: it is saved all the same
            weir.wait_until(lambda: dp.status()["configuration"]["saved_version"] == c.cp.version(), "the late save")
            c.cp.stop()
            dp.kill()
            dp.start()
            assert dp.get("/f2").status == 422
            c.cp.start()
            c.synced()


def test_a_control_plane_with_a_full_disk_says_so_and_recovers(tmp_path):
    c = weir.Cluster(tmp_path)
    with small_disk(os.path.join(str(tmp_path), "disk"), "4m") as disk:
        keep_data_on(c.cp, disk)
        with c:
            answer_route(c.cp, "a", 418)
            ballast = fill(disk)
            body = {"paths": ["/full"], "tags": ["x" * 200 + str(i) for i in range(1000)]}
            statuses = [c.cp.put(f"/routes/full{i}", body).status for i in range(20)]
            assert 500 in statuses and set(statuses) <= {200, 500}, statuses
            rows = {r["name"] for r in c.cp.get("/routes?size=1000")["data"]}
            assert rows == {"a"} | {f"full{i}" for i, s in enumerate(statuses) if s == 200}
            c.synced()
            os.remove(ballast)
            assert c.cp.put("/routes/late", {"paths": ["/late"]}).status == 200
            c.synced()
            assert c.dp[0].get("/late").status == 503
