#!/usr/bin/env python3
"""What a small request costs a worker once everything is warm, in calls: counts, no times.

    make check-counts

One client sends one request after the other on one connection; a worker passes them to an origin
on one kept connection. strace counts the worker's system calls, count_calls.so (preloaded) its
allocations and locks. Fails when a count is above LIMITS. Two of the six system calls are the
epoll_wait in front of each recv; with more connections, one wakes for several.
"""
import argparse
import collections
import contextlib
import mmap
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "blackbox"))

import h2.config  # noqa: E402
import h2.connection  # noqa: E402
import h2.events  # noqa: E402
import raw  # noqa: E402
import weir  # noqa: E402

LIBRARY = os.path.join(weir.BUILD, "bench", "count_calls.so")
LINE, LINES = 64, 64  # of the file that count_calls.c maps
WARM, REQUESTS = 300, 1000
READS = ("read", "readv", "recvfrom", "recvmsg")
WRITES = ("write", "writev", "sendto", "sendmsg")
WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2")

# What 1000 small requests over HTTP/1 may cost. The wheel's timer may wake the worker now and then,
# so epoll_wait has a little to spare. "other" is every other system call.
LIMITS = {"read": 2000, "write": 2000, "epoll_wait": 2050, "epoll_ctl": 0, "other": 0,
          "malloc": 0, "free": 0, "lock": 0}

FILE = """
_format_version: "3.0"
services:
- name: origin
  url: {url}
  routes:
  - {{name: all, paths: ["/"]}}
  - {{name: limited, paths: ["/limited"], plugins: [{{name: key-auth}},
      {{name: rate-limiting, config: {{minute: 100000000, policy: local}}}}]}}
consumers:
- username: alice
  keyauth_credentials: [{{key: open-sesame}}]
"""


class Http1:
    def __init__(self, port, path, fields=()):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=weir.PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [f"GET {path} HTTP/1.1", "Host: a.test", "User-Agent: count", *fields]
        self.request = "".join(line + "\r\n" for line in [*lines, ""]).encode()

    def ask(self):
        self.socket.sendall(self.request)
        head, body, _ = raw.read_response(self.socket)
        assert head.startswith(b"HTTP/1.1 200") and body == b"ok", head


class Http2:
    def __init__(self, port, path, fields=()):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=weir.PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.initiate_connection()
        self.fields = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "a.test"),
                       *(f.lower().split(": ") for f in fields)]

    def ask(self):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, self.fields, end_stream=True)
        self.socket.sendall(self.h2.data_to_send())
        ended = False
        while not ended:
            data = self.socket.recv(65536)
            assert data, "closed"
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    assert dict(event.headers)[b":status"] == b"200", event.headers
                ended |= isinstance(event, h2.events.StreamEnded)
            if out := self.h2.data_to_send():
                self.socket.sendall(out)


KEY = ("apikey: open-sesame",)
LOADS = (
    ("HTTP/1", Http1, "/x", (), LIMITS),
    ("HTTP/1, key and rate limit", Http1, "/limited", KEY, LIMITS),
    ("HTTP/2", Http2, "/x", (), None),
)


def worker_of(pid):
    """The thread id of the only worker."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/comm") as f:
            if f.read().startswith("weir-worker"):
                return int(thread)
    raise AssertionError("no thread is called weir-worker")


def calls_of(counters, thread):
    """What the library has counted for a thread."""
    for at in range(0, LINE * LINES, LINE):
        found, mallocs, frees, locks = struct.unpack_from("4Q", counters, at)
        if found == thread:
            return collections.Counter(malloc=mallocs, free=frees, lock=locks)
    raise AssertionError(f"thread {thread} is not among those counted: is {LIBRARY} loaded?")


@contextlib.contextmanager
def traced(thread, log):
    """strace looks at one thread."""
    tracer = subprocess.Popen(["strace", "-qq", "-o", log, "-p", str(thread)], stderr=subprocess.PIPE, text=True)

    def attached():
        assert tracer.poll() is None, f"strace: {tracer.stderr.read()}"
        with open(f"/proc/{thread}/status") as f:
            return f"TracerPid:\t{tracer.pid}\n" in f.read()
    try:
        weir.wait_until(attached, "strace")
        yield
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)
        tracer.wait()
        tracer.stderr.close()


def kind(call):
    for name, members in (("read", READS), ("write", WRITES), ("epoll_wait", WAITS)):
        if call in members:
            return name
    return call if call == "epoll_ctl" else "other"


def system_calls(log):
    """Counts by kind, and by name what is of no kind."""
    kinds, others = collections.Counter(), collections.Counter()
    with open(log, errors="replace") as f:
        for line in f:
            if found := re.match(r"(?:\d+ +)?(\w+)\(", line):
                kinds[kind(found[1])] += 1
                if kind(found[1]) == "other":
                    others[found[1]] += 1
    return kinds, others


def measure(dp, counters, client, log):
    thread = worker_of(dp.process.pid)
    for _ in range(WARM):
        client.ask()
    before = calls_of(counters, thread)
    for _ in range(REQUESTS):
        client.ask()
    counts = collections.Counter(calls_of(counters, thread))
    counts.subtract(before)
    with traced(thread, log):
        for _ in range(REQUESTS):
            client.ask()
    kinds, others = system_calls(log)
    assert kinds["read"] and kinds["write"], f"strace saw nothing: {kinds}"
    counts.update(kinds)
    return counts, others


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    failures = []
    origin = raw.Origin()
    with tempfile.TemporaryDirectory(prefix="weir-counts-") as folder:
        file, counts_file = os.path.join(folder, "weir.yaml"), os.path.join(folder, "counts")
        with open(file, "w") as f:
            f.write(FILE.format(url=origin.url))
        with open(counts_file, "wb") as f:
            f.truncate(LINE * LINES)
        dp = weir.DataPlane(os.path.join(folder, "dp"), declarative=file, workers=1)
        dp.env.update(LD_PRELOAD=LIBRARY, WEIR_COUNTS=counts_file)
        dp.start()
        try:
            with open(counts_file, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as counters:
                for name, client, path, fields, limits in LOADS:
                    c = client(dp.port, path, fields)
                    counts, others = measure(dp, counters, c, os.path.join(folder, "trace"))
                    c.socket.close()
                    total = sum(counts[k] for k in ("read", "write", "epoll_wait", "epoll_ctl", "other"))
                    print(f"{name}: {total / REQUESTS:.2f} system calls a request; for {REQUESTS}: "
                          + ", ".join(f"{k} {counts[k]}" for k in LIMITS)
                          + (f"; {dict(others)}" if others else ""), flush=True)
                    failures += [f"{name}: {k} {counts[k]} for {REQUESTS} requests, at most {most} expected"
                                 for k, most in (limits or {}).items() if counts[k] > most]
        finally:
            dp.stop()
            origin.close()
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
