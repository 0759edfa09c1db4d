"""The real programs, started for a test: control planes, data planes, upstreams.

    with Cluster(tmp_path) as c:
        c.cp.post("/services", {"name": "s", "url": c.upstream.url})
        c.dp[0].get("/x")

Every program gets ports of its own on 127.0.0.1 and a folder of its own, is waited for by its
ready line, and must end with status 0 and without a word from a sanitizer. WEIR_BUILD names
the folder of the programs (default: build).
"""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("WEIR_BUILD", "build"))
SANITIZED = "san-" in BUILD
PATIENCE = 60 if SANITIZED else 20  # seconds a condition may take to come true
REPORT = re.compile(r"(ERROR|WARNING): (Address|Thread|Leak|UndefinedBehavior)Sanitizer|runtime error:|^panic at ", re.M)


def own_ports():
    """Ports that are this process's alone, over and over. Whoever is bound to a name of the kernel's
    abstract socket namespace owns a block, until it ends: so runs side by side never meet. The blocks
    lie below the range that the system gives to outgoing connections: what is free now stays free."""
    size = 200
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        for first in range(10000, 18000, size):
            with contextlib.suppress(OSError):
                claim.bind(f"\0weir-test-ports-{first}")
                while True:
                    yield from range(first, first + size)
    raise AssertionError("all ports for tests are taken by other runs")


PORTS = own_ports()


def free_ports(n):
    """n ports that nobody uses now, and that no other call gives out soon."""
    found = []
    while len(found) < n:
        port = next(PORTS)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", port))
            found.append(port)
    return found


def wait_until(condition, what, patience=None):
    """Asks until condition() is true; its value."""
    end = time.monotonic() + (patience or PATIENCE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.005)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __getitem__(self, name):
        return self.json[name]

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode(errors="replace")

    def header(self, name):
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        return values[0] if values else None

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:500]!r}>"


def request(port, method, path, body=None, headers=None, timeout=PATIENCE):
    """One request on a connection of its own. dict and list bodies go as JSON."""
    headers = dict(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


class Http:
    """get, post... on self.port."""

    def request(self, method, path, body=None, headers=None, **more):
        return request(self.port, method, path, body, headers, **more)

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.request("POST", path, body, **more)

    def put(self, path, body=None, **more):
        return self.request("PUT", path, body, **more)

    def patch(self, path, body=None, **more):
        return self.request("PATCH", path, body, **more)

    def delete(self, path, **more):
        return self.request("DELETE", path, **more)


started = []  # every process, so that a failing test leaves none behind


class Program:
    """A process with its own folder, known to be ready by a line on stdout."""

    def __init__(self, name, folder, args, env=None, ready=" ready"):
        self.name, self.folder, self.ready_word = name, str(folder), ready
        self.args = [os.path.join(BUILD, args[0]), *map(str, args[1:])]
        self.env = {**os.environ, **(env or {})}
        self.process = None
        self.line = ""

    @property
    def log_path(self):
        return os.path.join(self.folder, self.name + ".log")

    def log(self):
        with contextlib.suppress(OSError), open(self.log_path, errors="replace") as f:
            return f.read()
        return ""

    def start(self, wait=True):
        os.makedirs(self.folder, exist_ok=True)
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=log, env=self.env, text=True)
        started.append(self.process)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        timer = threading.Timer(PATIENCE, self.process.kill)
        timer.start()
        try:
            self.line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if self.ready_word not in self.line:
            self.process.wait(PATIENCE)
            raise AssertionError(f"{self.name} did not get ready: {self.line!r}\n{self.log()[-3000:]}")

    def kill(self):
        """kill -9: no farewell."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process = None

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, status=0):
        """TERM; the end must be clean."""
        if not self.process:
            return
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            raise AssertionError(f"{self.name} did not stop\n{self.log()[-3000:]}") from None
        finally:
            self.process.stdout.close()
            self.process = None
        self.check_log()
        assert code == status, f"{self.name} ended with {code}\n{self.log()[-3000:]}"

    def check_log(self):
        found = REPORT.search(self.log())
        assert not found, f"{self.name}:\n{self.log()[found.start():][:6000]}"

    def fails(self, status=1):
        """Starts what must refuse to start; what it said on stderr."""
        os.makedirs(self.folder, exist_ok=True)
        result = subprocess.run(self.args, stdin=subprocess.DEVNULL, capture_output=True, env=self.env,
                                text=True, timeout=PATIENCE)
        assert result.returncode == status, (result.returncode, result.stdout, result.stderr)
        assert not REPORT.search(result.stderr), result.stderr
        return result.stderr


class ControlPlane(Program, Http):
    def __init__(self, folder, certs, *flags, ports=None):
        self.port, self.cluster_port, self.status_port = ports or free_ports(3)
        self.url = f"tls+tcp://127.0.0.1:{self.cluster_port}"
        super().__init__("weir-cp", folder, [
            "weir-cp", "--data-dir", folder,
            "--admin-listen", f"127.0.0.1:{self.port}",
            "--cluster-listen", f"127.0.0.1:{self.cluster_port}",
            "--status-listen", f"127.0.0.1:{self.status_port}",
            "--cluster-ca", f"{certs}/ca.crt", "--cluster-cert", f"{certs}/cp.crt",
            "--cluster-cert-key", f"{certs}/cp.key", *flags])

    def nodes(self):
        return self.get("/clustering/data-planes")["data"]

    def version(self):
        """The newest version of the configuration, as some data plane has been told."""
        return max((n["config_version"] for n in self.nodes()), default=0)


class DataPlane(Program, Http):
    def __init__(self, folder, *flags, control_plane=None, certs=None, declarative=None, workers=2,
                 ports=None, name="weir-dp"):
        self.port, self.status_port, self.tls_port = ports or free_ports(3)
        args = ["weir-dp", "--data-dir", folder, "--workers", workers,
                "--proxy-listen", f"127.0.0.1:{self.port}, 127.0.0.1:{self.tls_port} ssl http2",
                "--status-listen", f"127.0.0.1:{self.status_port}"]
        if control_plane:
            args += ["--control-plane", control_plane, "--cluster-ca", f"{certs}/ca.crt",
                     "--cluster-cert", f"{certs}/dp.crt", "--cluster-cert-key", f"{certs}/dp.key"]
        if declarative:
            args += ["--declarative", declarative]
        super().__init__(name, folder, [*args, *flags])

    def status(self):
        return request(self.status_port, "GET", "/status").json

    def metrics(self):
        return request(self.status_port, "GET", "/metrics").text

    def ready(self):
        with contextlib.suppress(OSError):
            return request(self.status_port, "GET", "/status/ready").status == 200
        return False


class Upstream(Http):
    """An origin that answers with what it was asked; remembers the requests."""

    def __init__(self, name="up"):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                    body = b""
                    while size := int(self.rfile.readline().split(b";")[0], 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                seen = {"method": self.command, "path": self.path, "headers": self.headers.items(),
                        "body": body.decode(errors="replace"), "upstream": name}
                outer.requests.append(seen)
                status, headers, answer = outer.reply(seen) or (200, {}, json.dumps(seen).encode())
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 1024

            def handle_error(self, *_):
                pass  # clients that leave are part of the tests

        self.name, self.requests = name, []
        self.reply = lambda seen: None
        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def make_certs(folder):
    subprocess.run([os.path.join(BUILD, "weirctl"), "cert", "--out", folder], check=True,
                   stdout=subprocess.DEVNULL)
    return str(folder)


class Cluster:
    """One control plane, n data planes, one upstream; all joined and ready."""

    def __init__(self, folder, planes=1, workers=2, cp_flags=(), dp_flags=()):
        self.folder = str(folder)
        self.certs = make_certs(os.path.join(self.folder, "certs"))
        self.cp = ControlPlane(os.path.join(self.folder, "cp"), self.certs, *cp_flags)
        self.dp = [DataPlane(os.path.join(self.folder, f"dp{i}"), *dp_flags, control_plane=self.cp.url,
                             certs=self.certs, workers=workers) for i in range(planes)]
        self.upstream = Upstream()

    def __enter__(self):
        try:
            self.cp.start()
            for dp in self.dp:
                dp.start()
            wait_until(lambda: sum(n["connected"] for n in self.cp.nodes()) == len(self.dp), "all data planes")
        except BaseException:
            self.stop(gently=False)
            raise
        return self

    def stop(self, gently=True):
        failures = []
        for program in [*self.dp, self.cp]:
            try:
                program.stop()
            except AssertionError as error:
                failures.append(str(error))
        self.upstream.stop()
        if gently and failures:
            raise AssertionError("\n".join(failures))

    def __exit__(self, kind, *_):
        self.stop(gently=kind is None)

    def synced(self, version=None):
        """Waits until every data plane has the newest version active."""
        running = sum(1 for d in self.dp if d.process)
        wait_until(lambda: sum(n["connected"] for n in self.cp.nodes()) >= running, "all data planes")
        wanted = version or self.cp.version()

        def all_have():
            nodes = [n for n in self.cp.nodes() if n["connected"]]
            return len(nodes) >= running and all(
                n["applied_version"] >= wanted for n in nodes)
        wait_until(all_have, f"version {wanted} on all data planes")
