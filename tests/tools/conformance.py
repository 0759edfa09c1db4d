#!/usr/bin/env python3
"""Runs recorded cases of the reference gateway against a fresh Weir.

    tests/tools/conformance.py --runner DIR/conform.py [--mode dbless] [--filter WORD]...

Starts a control plane and one data plane in a temporary folder, points the runner at them, passes
on what else is given, and ends with the runner's status. `make conformance ARGS=...`
"""
import argparse
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "blackbox"))

import weir  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runner", required=True, help="the conform.py to run")
    parser.add_argument("--keep", action="store_true", help="leave the folder with the logs")
    args, more = parser.parse_known_args()
    folder = tempfile.mkdtemp(prefix="weir-conformance-")
    stream, stream_tls = weir.free_ports(2)
    flags = ("--stream-listen", f"127.0.0.1:{stream}, 127.0.0.1:{stream_tls} ssl")
    with weir.Cluster(folder, dp_flags=flags) as c:
        c.upstream.stop()
        status = subprocess.run([
            sys.executable, args.runner, "--admin", f"http://127.0.0.1:{c.cp.port}",
            "--proxy", f"http://127.0.0.1:{c.dp[0].port}", "--proxy-tls", f"127.0.0.1:{c.dp[0].tls_port}",
            "--stream", f"127.0.0.1:{stream}", "--stream-tls", f"127.0.0.1:{stream_tls}", *more]).returncode
        c.upstream = weir.Upstream()
    if args.keep:
        print(f"logs: {folder}")
    else:
        subprocess.run(["rm", "-rf", folder], check=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
