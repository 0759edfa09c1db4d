"""`make run`, as a newcomer sees it: it comes up, its curl lines work, it stops, the data stays."""
import contextlib
import os
import re
import signal
import socket
import subprocess

import weir


PORTS = (8000, 8001, 8005, 8007, 8010, 8100, 8110, 8443, 8453, 9000)


def free_offset():
    """A number that, added to each of PORTS, gives ports that nobody uses."""
    for offset in range(10200, 23000, 1009):  # above those of weir.py, below those of outgoing connections
        with contextlib.ExitStack() as stack:
            try:
                for port in PORTS:
                    s = stack.enter_context(socket.socket())
                    s.bind(("127.0.0.1", port + offset))
            except OSError:
                continue
            return offset
    raise AssertionError("no free ports")


def start(folder, offset):
    env = {**os.environ, "WEIR_RUN_DIR": folder, "WEIR_RUN_OFFSET": str(offset), "WEIR_BUILD": weir.BUILD}
    log = open(os.path.join(os.path.dirname(folder), "run.log"), "a+")
    # INT is ignored in what a shell runs in the background, and in all that comes of it
    p = subprocess.Popen([os.path.join(weir.ROOT, "deploy", "run.sh")], env=env, stdout=log, stderr=log,
                         stdin=subprocess.DEVNULL, start_new_session=True,
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def text():
        with open(log.name, errors="replace") as f:
            return f.read()
    try:
        weir.wait_until(lambda: p.poll() is not None or "Ctrl-C" in text(), "the summary", 90)
        assert p.poll() is None, text()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(p.pid, signal.SIGKILL)
        raise
    return p, text()


def stop(p, log):
    os.killpg(p.pid, signal.SIGINT)  # as Ctrl-C does: to the whole group
    assert p.wait(weir.PATIENCE) == 0, log


def test_make_run_twice(tmp_path):
    folder = os.path.join(str(tmp_path), "run")
    offset = free_offset()
    p, text = start(folder, offset)
    try:
        urls = re.findall(r"(curl .*)$", text, re.M)
        assert len(urls) >= 3, text
        for line in urls:
            done = subprocess.run(line + " --fail --silent --show-error --max-time 20", shell=True, capture_output=True,
                                  text=True)
            assert done.returncode == 0, (line, done)
        admin = 8001 + offset
        assert weir.request(admin, "PUT", "/services/kept", {"host": "kept.test"}).status == 200
    finally:
        stop(p, text)
    pids = subprocess.run(["pgrep", "-f", folder], capture_output=True, text=True).stdout.split()
    assert not pids, "left running"
    os.remove(os.path.join(str(tmp_path), "run.log"))
    p, text = start(folder, offset)
    try:
        assert weir.request(admin, "GET", "/services/kept").status == 200
        assert weir.request(8000 + offset, "GET", "/echo/again").status == 200
    finally:
        stop(p, text)
