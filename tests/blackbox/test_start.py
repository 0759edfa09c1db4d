"""Starting, stopping, refusing to start: every error names the setting, the value and what was expected."""
import os
import signal
import socket
import subprocess

import weir

ECHO = """
_format_version: "3.0"
services:
- name: up
  url: {url}
  routes:
  - {{name: a, paths: ["/a"]}}
"""


def declarative(folder, text):
    file = os.path.join(str(folder), "weir.yaml")
    with open(file, "w") as f:
        f.write(text)
    return file


def program(folder, *args):
    return weir.Program(args[0], folder, args)


def test_help_and_version(tmp_path):
    for name in ("weir-cp", "weir-dp", "weirctl"):
        out = subprocess.run([os.path.join(weir.BUILD, name), "--help"], capture_output=True, text=True)
        assert out.returncode == 0 and "--" in out.stdout, (name, out)
        out = subprocess.run([os.path.join(weir.BUILD, name), "--version"], capture_output=True, text=True)
        assert out.returncode == 0 and "0.1.0" in out.stdout, (name, out)


def test_the_printed_pages_are_those_of_the_tables():
    """`make docs` after a change of a table."""
    for flags, path in (((), "common/REFERENCE.md"), (("--proto",), "proto/entities.proto")):
        out = subprocess.run([os.path.join(weir.BUILD, "weirctl"), "reference", *flags], capture_output=True, text=True)
        with open(os.path.join(weir.ROOT, path)) as f:
            assert out.stdout == f.read(), f"{path} is not what the tables say: run make docs"


def test_bad_settings_are_named(tmp_path):
    config = os.path.join(str(tmp_path), "weir.conf")
    with open(config, "w") as f:
        f.write("# a comment\nworkers = 1\nproxy_lisen = 127.0.0.1:1\n")
    cases = [
        (("weir-dp", "--no-such-flag", "1"), ("no-such-flag",)),
        (("weir-dp", "--workers", "many"), ("workers", "many")),
        (("weir-dp", "--workers", "-1"), ("workers", "-1")),
        (("weir-dp", "--proxy-listen", "127.0.0.1:99999"), ("proxy_listen", "99999")),
        (("weir-dp", "--proxy-listen", "127.0.0.1:8000 sll"), ("proxy_listen", "sll")),
        (("weir-dp", "--client-idle-timeout", "5 parsecs"), ("client_idle_timeout", "5 parsecs")),
        (("weir-dp", "--config", config), ("weir.conf", "3", "proxy_lisen")),
        (("weir-dp", "--config", "/no/such/file"), ("/no/such/file",)),
        (("weir-cp", "--admin-listen", "nonsense"), ("admin_listen", "nonsense")),
    ]
    for args, words in cases:
        said = program(tmp_path, *args).fails()
        for word in words:
            assert word in said, (args, said)


def test_neither_control_plane_nor_file(tmp_path):
    said = program(tmp_path, "weir-dp", "--data-dir", tmp_path).fails()
    assert "--control-plane" in said and "--declarative" in said


def test_environment_and_file_and_flag(tmp_path):
    """Flag beats environment beats file."""
    up = weir.Upstream()
    file = declarative(tmp_path, ECHO.format(url=up.url))
    ports = weir.free_ports(3)
    config = os.path.join(str(tmp_path), "weir.conf")
    with open(config, "w") as f:
        f.write(f"proxy_listen = 127.0.0.1:{ports[0]}  # of the file\nstatus_listen = off\ndeclarative = {file}\n"
                f"data_dir = {tmp_path}\n")
    p = program(tmp_path, "weir-dp", "--config", config).start()
    assert weir.request(ports[0], "GET", "/a").status == 200
    p.stop()
    p.env["WEIR_PROXY_LISTEN"] = f"127.0.0.1:{ports[1]}"
    p.start()
    assert weir.request(ports[1], "GET", "/a").status == 200
    p.stop()
    p.args += ["--proxy-listen", f"127.0.0.1:{ports[2]}"]
    p.start()
    assert weir.request(ports[2], "GET", "/a").status == 200
    p.stop()
    up.stop()


def test_a_port_in_use_is_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = declarative(tmp_path, '_format_version: "3.0"\n')
        said = program(tmp_path, "weir-dp", "--declarative", file, "--data-dir", tmp_path,
                       "--proxy-listen", f"127.0.0.1:{port}", "--status-listen", "off").fails()
        assert str(port) in said and "in use" in said, said
        said = program(tmp_path, "weir-cp", "--data-dir", tmp_path, "--cluster-listen", "off",
                       "--status-listen", "off", "--admin-listen", f"127.0.0.1:{port}").fails()
        assert str(port) in said, said


def test_a_database_that_is_none(tmp_path):
    with open(os.path.join(str(tmp_path), "weir.db"), "w") as f:
        f.write("this is not a database, and long enough to be looked at" * 100)
    said = program(tmp_path, "weir-cp", "--data-dir", tmp_path, "--cluster-listen", "off",
                   "--admin-listen", "127.0.0.1:0", "--status-listen", "off").fails()
    assert "weir.db" in said, said


def test_missing_certificates_name_the_way_out(tmp_path):
    said = program(tmp_path, "weir-cp", "--data-dir", tmp_path, "--admin-listen", "127.0.0.1:0",
                   "--status-listen", "off", "--cluster-listen", "127.0.0.1:0").fails()
    assert "cluster" in said and "weirctl cert" in said, said


def test_the_admin_api_stays_on_loopback(tmp_path):
    said = program(tmp_path, "weir-cp", "--data-dir", tmp_path, "--cluster-listen", "off",
                   "--status-listen", "off", "--admin-listen", "0.0.0.0:0").fails()
    assert "admin_listen" in said and "0.0.0.0" in said, said


DOCUMENTS = [
    ("services: []\n", ("_format_version",)),
    ('_format_version: "3.0"\nservices:\n- name: a\n', ("services", "host", "required field missing", "3")),
    ('_format_version: "3.0"\nservices:\n- {name: a, host: h, retries: 99999}\n', ("retries", "between 0 and 32767")),
    ('_format_version: "3.0"\nroutes:\n- {name: r, paths: [x], service: nope}\n', ("paths", "should start with")),
    ('_format_version: "3.0"\nnonsense: 1\n', ("nonsense", "unknown field")),
    ('_format_version: "3.0"\nplugins:\n- {name: nope}\n', ("nope", "not enabled")),
    ('_format_version: "3.0"\nservices: [\n', ("weir.yaml",)),
    ("\0\1\2", ("weir.yaml",)),
    ('a: &a [1,2]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n'
     'e: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f]\n'
     'h: &h [*g,*g,*g,*g,*g,*g,*g,*g]\ni: &i [*h,*h,*h,*h,*h,*h,*h,*h]\nj: [*i,*i,*i,*i,*i,*i,*i,*i]\n', ("weir.yaml",)),
]


def test_bad_documents_are_refused_with_place_and_reason(tmp_path):
    for i, (text, words) in enumerate(DOCUMENTS):
        folder = os.path.join(str(tmp_path), str(i))
        os.mkdir(folder)
        file = declarative(folder, text)
        said = program(folder, "weir-dp", "--declarative", file, "--data-dir", folder,
                       "--proxy-listen", "127.0.0.1:0", "--status-listen", "off").fails()
        for word in words:
            assert word in said, (text, said)


def test_all_errors_of_a_document_at_once(tmp_path):
    file = declarative(tmp_path, '_format_version: "3.0"\nservices:\n- {name: a}\n- {name: b, host: "x y"}\n'
                                 'routes:\n- {name: r, methods: [get]}\n')
    said = program(tmp_path, "weir-dp", "--declarative", file, "--data-dir", tmp_path,
                   "--proxy-listen", "127.0.0.1:0", "--status-listen", "off").fails()
    for word in ("required field missing", "invalid value: x y", "invalid value: get"):
        assert word in said, said


def test_hup_reads_the_document_again(tmp_path):
    up = weir.Upstream()
    file = declarative(tmp_path, ECHO.format(url=up.url))
    dp = weir.DataPlane(tmp_path, declarative=file).start()
    assert dp.get("/a").status == 200 and dp.get("/b").status == 404
    declarative(tmp_path, ECHO.format(url=up.url).replace("/a", "/b"))
    dp.signal(signal.SIGHUP)
    weir.wait_until(lambda: dp.get("/b").status == 200, "the new document")
    assert dp.get("/a").status == 404
    declarative(tmp_path, "nonsense")
    dp.signal(signal.SIGHUP)
    weir.wait_until(lambda: "weir.yaml" in dp.log(), "the refusal in the log")
    assert dp.get("/b").status == 200  # the old one stays
    dp.stop()
    up.stop()


def test_term_finishes_what_is_under_way(tmp_path):
    up = weir.Upstream()
    file = declarative(tmp_path, ECHO.format(url=up.url))
    dp = weir.DataPlane(tmp_path, declarative=file).start()
    arrived = []

    def slow(seen):
        arrived.append(1)
        weir.wait_until(lambda: len(arrived) > 1, "the go-ahead")

    up.reply = slow
    with socket.create_connection(("127.0.0.1", dp.port), timeout=weir.PATIENCE) as s:
        s.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        weir.wait_until(lambda: arrived, "the request at the upstream")
        dp.signal(signal.SIGTERM)
        weir.wait_until(lambda: refused(dp.port), "a closed listener")
        arrived.append(2)
        out = b""
        while part := s.recv(65536):
            out += part
        assert out.startswith(b"HTTP/1.1 200") and b"onnection: close" in out
    assert dp.process.wait(weir.PATIENCE) == 0
    dp.process.stdout.close()
    dp.process = None
    dp.check_log()
    up.stop()


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # it was waiting in the queue of the listener that closed just then
    return False
