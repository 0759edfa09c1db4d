#!/usr/bin/env python3
"""An upstream that answers what it was asked, as JSON: for trying a gateway out.

    echo.py [--listen HOST:PORT] [--instance NAME]

Prints "echo ready: HOST:PORT" once it serves. HTTP/1.1 with keep-alive; Python's
standard library only.
"""
import argparse
import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_MAX = 1 << 20  # a larger one is counted, not repeated


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 64 * 1024  # head and body leave in one write

    def read_chunked(self):
        """The body's pieces; raises ValueError when they are not what RFC 9112 says."""
        while True:
            size = int(self.rfile.readline(1024).split(b";")[0].strip(), 16)
            if size == 0:
                break
            yield self.rfile.read(size)
            self.rfile.readline(8)
        while self.rfile.readline(65536).strip():  # trailers
            pass

    def read_fixed(self, left):
        while left > 0:
            piece = self.rfile.read(min(left, 64 * 1024))
            if not piece:
                raise ValueError("the body ended early")
            left -= len(piece)
            yield piece

    def read_body(self):
        chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        pieces = self.read_chunked() if chunked else self.read_fixed(int(self.headers.get("Content-Length", 0)))
        kept, total = [], 0
        for piece in pieces:
            total += len(piece)
            if total <= BODY_MAX:
                kept.append(piece)
        return b"".join(kept) if total <= BODY_MAX else b"", total

    def answer(self):
        try:
            body, size = self.read_body()
        except ValueError as e:
            self.close_connection = True
            self.send_error(400, str(e))
            return
        text = json.dumps({
            "instance": self.server.instance,
            "method": self.command,
            "path": self.path,
            "headers": dict(self.headers.items()),
            "body": body.decode("utf-8", "replace"),
            "body_bytes": size,
        }, indent=2).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, *args):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--listen", default="127.0.0.1:9000", metavar="HOST:PORT")
    parser.add_argument("--instance", default="echo")
    args = parser.parse_args()
    host, _, port = args.listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        parser.error(f"--listen: expected HOST:PORT like 127.0.0.1:9000, got {args.listen!r}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 1024
    try:
        server = ThreadingHTTPServer((host, int(port)), Echo)
    except OSError as e:
        sys.exit(f"echo: cannot listen on {args.listen}: {e.strerror}")
    server.instance = args.instance
    print(f"echo ready: {host}:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
