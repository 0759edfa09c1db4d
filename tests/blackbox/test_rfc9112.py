"""HTTP/1.1 by RFC 9110 and RFC 9112: plays the tables in rfc9112/ through a data plane.

Both sides are read by the letter (rfc9112/reader.py), and some things hold for every message,
whatever its case says: see check_response and check_request.
"""
import collections
import contextlib
import os
import re
import socket
import struct
import threading

import pytest
import raw
import weir
from rfc9112 import THEMES
from rfc9112.reader import REQUEST_LINE, STATUS_LINE, Reader
from rfc9112.words import (BODY, CLOSE, CLOSED, EOF, GO, HALF_CLOSE, KEPT, NEW, OK, RESET, WAIT, Got, Last, Reached,
                           Recv,
                           Seen, asked, get)

FILE = """
_format_version: "3.0"
services:
- name: origin
  url: http://127.0.0.1:{port}
  retries: 0
  routes:
  - {{name: all, paths: ["/"], preserve_host: true}}
  - {{name: stream, paths: ["/stream"], preserve_host: true, strip_path: false, request_buffering: false,
      response_buffering: false}}
  - {{name: target, paths: ["/target"], strip_path: false}}
  - {{name: own, paths: ["/own"], plugins: [{{name: request-termination, config: {{status_code: 403}}}}]}}
- name: again
  url: http://127.0.0.1:{port}
  retries: 1
  routes:
  - {{name: again, paths: ["/again"], strip_path: false}}
- name: slow
  url: http://127.0.0.1:{port}
  retries: 0
  read_timeout: 300
  routes:
  - {{name: slow, paths: ["/slow"], strip_path: false}}
- name: dead
  url: http://127.0.0.1:1
  retries: 0
  routes:
  - {{name: dead, paths: ["/dead"]}}
"""

SMALL = ("--client-max-header-bytes", 2048, "--client-max-uri-bytes", 256, "--client-max-header-fields", 16,
         "--client-max-body-bytes", 1000, "--upstream-max-header-bytes", 2048, "--client-max-requests", 3,
         "--client-header-timeout", "500ms", "--client-body-timeout", "500ms", "--client-idle-timeout", "1s")


class Origin(raw.Origin):
    """Plays the turns of a case, whichever connection a request comes on; remembers what it was asked."""

    def __init__(self):
        self.begin([])
        super().__init__()

    def begin(self, turns):
        self.turns = collections.deque(turns)
        self.seen, self.errors, self.readers, self.accepted = [], [], [], []
        self.client_said_go, self.origin_said_go = threading.Semaphore(0), threading.Semaphore(0)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.listener.accept()
                self.accepted.append((s, threading.Thread(target=self.serve, args=(s,), daemon=True)))
                self.accepted[-1][1].start()

    def serve(self, s):
        with s:
            s.settimeout(weir.PATIENCE)
            try:
                self.play(s)
            except (AssertionError, TimeoutError) as error:
                self.errors.append(error)
            except OSError:
                pass

    def play(self, s):
        number, reader = len(self.readers), Reader(s)
        self.readers.append(reader)
        while request := reader.head(REQUEST_LINE):
            request.connection = number
            self.seen.append(request)
            turn = self.turns.popleft() if self.turns else asked(None)
            for step in turn.does:
                if step is BODY:
                    reader.body(request)
                    if not request.whole:
                        return
                elif step is WAIT:
                    assert self.client_said_go.acquire(timeout=weir.PATIENCE), "the client never said GO"
                elif step is GO:
                    self.origin_said_go.release()
                elif not take_step(step, s, reader):
                    return

    def end(self):
        """Ends every connection, also those still to be accepted; the data plane has closed them then."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=weir.PATIENCE) as last:
            last.shutdown(socket.SHUT_WR)
            assert last.recv(1) == b""  # accepted, and so are all before it
        self.client_said_go.release(len(self.accepted))
        for s, thread in self.accepted:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_WR)
            thread.join(weir.PATIENCE)
            assert not thread.is_alive(), "the data plane keeps a connection to the origin that has ended"


def take_step(step, s, reader):
    """What both sides can do. False: the connection is over."""
    if isinstance(step, bytes):
        s.sendall(step)
    elif isinstance(step, Recv):
        assert reader.exactly(len(step.data)) == step.data
    elif isinstance(step, Last):
        s.send(step.data, socket.MSG_MORE)
        s.shutdown(socket.SHUT_WR)
    elif step is HALF_CLOSE:
        s.shutdown(socket.SHUT_WR)
    elif step is EOF:
        assert reader.rest() == b""
    elif step is RESET:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
        return False
    elif step is CLOSE:
        s.close()
        return False
    else:
        raise TypeError(f"no step: {step!r}")
    return True


# ---- what messages have to be ----

def check_fields(wanted, read, fields, where):
    """All the fields of a name that is wanted, in order."""
    groups = collections.defaultdict(list)
    for line in wanted:
        name, _, value = line.partition(":")
        groups[name].append(value.strip(" "))
    for name, values in groups.items():
        found = [v.decode("latin-1") for v in read.values(name, fields)]
        assert len(found) == len(values) and all(
            re.fullmatch(v[1:], f) if v.startswith("~") else v == f for v, f in zip(values, found)), \
            f"{where}: {name} is {found}, not {values}: {read.head!r} {read.trailers!r}"


def check_message(wanted, read, where):
    check_fields(wanted.has, read, read.fields, where)
    for name in wanted.lacks:
        assert not read.values(name), f"{where}: has {name}: {read.head!r}"
    if wanted.framing:
        assert read.framing == wanted.framing, f"{where}: framed by {read.framing}: {read.head!r}"
    if isinstance(wanted.body, re.Pattern):
        assert wanted.body.fullmatch(read.body), f"{where}: body {read.body!r}"
    elif wanted.body is not None:
        assert read.body == wanted.body, f"{where}: body {read.body!r}"
    assert read.whole != wanted.cut, f"{where}: whole {read.whole}: {read.head!r} {read.body!r}"
    if wanted.trailers is not None:
        check_fields(wanted.trailers, read, read.trailers, where + ", trailers")
        assert len(read.trailers) == len(wanted.trailers), f"{where}: trailers {read.trailers}"


HOP_BY_HOP = ("Keep-Alive", "Proxy-Connection")  # RFC 9110 section 7.6.1
DATE = re.compile(rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")


def check_response(read):
    """What holds for every response that a client gets."""
    status = int(read.start.split()[1])
    for name in HOP_BY_HOP:
        assert not read.values(name), f"{name} has passed: {read.head!r}"
    if status < 200 or status == 204:  # RFC 9110 section 8.6, RFC 9112 section 6.1
        assert not read.values("Content-Length") and not read.values("Transfer-Encoding"), read.head
    if status >= 200:
        assert DATE.fullmatch(read.value("Date")), read.head  # RFC 9110 section 6.6.1
        assert read.value("Connection") in (b"keep-alive", b"close"), read.head


def check_request(read):
    """What holds for every request that an origin gets."""
    target = read.start.split()[1]
    assert target.startswith(b"/"), read.start  # RFC 9112 section 3.2.1
    read.value("Host")
    assert read.value("Connection").startswith(b"keep-alive"), read.head
    assert re.search(rb"(^|, )1(\.[01])? weir/\S+$", read.value("Via")), read.head  # RFC 9110 section 7.6.3
    for name in (*HOP_BY_HOP, "Expect"):
        assert not read.values(name), f"{name} has passed: {read.head!r}"
    assert read.values("TE") in ([], [b"trailers"]), read.head


# ---- the conversation ----

class Client:
    def __init__(self, s, origin):
        self.s, self.origin, self.reader = s, origin, Reader(s)
        self.last, self.in_tunnel = None, False

    def play(self, steps):
        for step in steps:
            if isinstance(step, Got):
                self.get(step)
            elif isinstance(step, Reached):
                weir.wait_until(lambda: any(step.data in r.all for r in self.origin.readers),
                                f"{step.data!r} at the origin")
            elif isinstance(step, Seen):
                while step.data not in self.reader.buffer:
                    assert self.reader.more(), f"closed in front of {step.data!r}: {self.reader.all!r}"
            elif step is GO:
                self.origin.client_said_go.release()
            elif step is WAIT:
                assert self.origin.origin_said_go.acquire(timeout=weir.PATIENCE), "the origin never said GO"
            elif isinstance(step, bytes):
                self.send(step)
            else:
                take_step(step, self.s, self.reader)

    def send(self, data):
        try:
            self.s.sendall(data)
        except ConnectionError:
            pass  # it has closed: what it answered in front of that is still to be read

    def get(self, wanted):
        read = self.reader.head(STATUS_LINE)
        assert read, f"closed instead of {wanted}; all that came: {self.reader.all!r}"
        status = int(read.start.split()[1])
        assert status == wanted.status, f"{read.head!r} {self.reader.buffer!r}"
        if status >= 200:
            self.last = read
        self.in_tunnel = status == 101
        self.reader.body(read, bodiless=status < 200 or status in (204, 304) or wanted.to_head, close_ends=True)
        if wanted.exact is not None:
            assert read.head == wanted.exact
        check_response(read)
        check_message(wanted, read, f"response {status}")

    def finish(self, case):
        """The connection stands as the case says."""
        if case.end == KEPT:
            assert self.last.value("Connection") == b"keep-alive", self.last.head
            assert self.reader.buffer == b"", f"more than asked for: {self.reader.buffer!r}"
            self.play([get(to="/probe"), OK])
        elif case.end == CLOSED:
            if self.last and self.last.whole and not self.in_tunnel:
                assert self.last.value("Connection") == b"close", self.last.head
            more = self.reader.rest()
            assert more == b"", f"more behind the end: {more!r}"


def play(case, dp):
    origin, turns = dp.origin, list(case.origin)
    if case.end == KEPT:
        turns.append(asked("GET /probe HTTP/1.1"))
    origin.begin(turns)
    try:
        with socket.create_connection(("127.0.0.1", dp.port), timeout=weir.PATIENCE) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = Client(s, origin)
            client.play(case.client)
            client.finish(case)
    finally:
        origin.end()
    assert not origin.errors, origin.errors
    seen = origin.seen
    assert len(seen) == len(turns), f"the origin was asked {[r.start for r in seen]}"
    for turn, read in zip(turns, seen):
        check_request(read)
        assert turn.line is None or read.start.decode("latin-1") == turn.line
        if BODY not in turn.does:
            read.whole = not turn.cut  # nobody looked
        check_message(turn, read, f"request {turn.line}")
        assert turn.on is None or read.connection == turn.on, f"{turn.line} came on connection {read.connection}"
    if case.next_on:
        assert (seen[-1].connection != seen[-2].connection) == (case.next_on == NEW), "connections to the origin"


# ---- pytest ----

@pytest.fixture(scope="module")
def planes(tmp_path_factory):
    """Two data planes with one file and one origin: {small: data plane}."""
    origin, folder = Origin(), str(tmp_path_factory.mktemp("rfc9112"))
    file = os.path.join(folder, "weir.yaml")
    with open(file, "w") as f:
        f.write(FILE.format(port=origin.port))
    # the scripted origin answers one request after the other; test_pipeline.py has the rest
    planes = {small: weir.DataPlane(os.path.join(folder, name), "--client-max-pipelined", "1", *flags,
                                    declarative=file, workers=1, name=name)
              for small, name, flags in ((False, "plain", ()), (True, "small", SMALL))}
    for dp in planes.values():
        dp.start()
        dp.origin = origin
    yield planes
    for dp in planes.values():
        dp.stop()
    origin.close()


def entries():
    names = set()
    for theme, cases in THEMES.items():
        for case in cases:
            name = f"{theme} {case.rfc} {case.name}"
            assert name not in names, f"two cases are called {name}"
            names.add(name)
            yield pytest.param(case, id=name, marks=[pytest.mark.xfail(strict=False)] if case.pending else [])


@pytest.mark.parametrize("case", entries())
def test_case(planes, case):
    play(case, planes[case.small])
