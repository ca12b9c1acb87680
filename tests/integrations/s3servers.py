"""Servers of S3 on loopback: moto and s3rver, and a wire in front of one that kills it in the middle of an upload."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BUCKET = "bucket"
S3RVER = "s3rver@3.7.1"


class S3Server:
    """A server in a process of its own; what it stores is in a folder, if it keeps it at all.

    Args:
        command: with the port to put in.
    """

    def __init__(self, command: list[str], cwd: Path) -> None:
        self.port = free_port()
        self._command = [part.replace("PORT", str(self.port)) for part in command]
        self._cwd = cwd
        self.process: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with (self._cwd / "s3.log").open("ab") as log:
            self.process = subprocess.Popen(self._command, cwd=self._cwd, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self.process.poll() is None, (self._cwd / "s3.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            else:
                return

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def environment(self, port: int = 0) -> dict[str, str]:
        """Return what a client needs.

        Args:
            port: of a wire to it; 0 for the server's own.
        """
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ACCESS_KEY_ID": "S3RVER",
            "AWS_SECRET_ACCESS_KEY": "S3RVER",
            "AWS_REGION": "us-east-1",
        }


def start_moto(folder: Path) -> S3Server:
    """Start moto in server mode with a bucket; it keeps everything in memory."""
    pytest.importorskip("moto", reason="moto[server] is not installed")
    server = S3Server([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "PORT"], folder)
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("PUT", f"/{BUCKET}")
    assert connection.getresponse().status == 200
    connection.close()
    return server


def start_s3rver(folder: Path) -> S3Server:
    """Start npm's s3rver with a bucket; it keeps files, so that a start after a kill has what was there."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("there is no npm here")
    cache = folder / "npm"
    cache.mkdir(exist_ok=True)
    subprocess.run(
        [npm, "install", "--silent", "--no-audit", "--no-fund", S3RVER], cwd=cache, check=True, stdin=subprocess.DEVNULL
    )
    command = [str(cache / "node_modules/.bin/s3rver"), "-d", str(folder / "objects"), "-a", "127.0.0.1", "-p", "PORT"]
    return S3Server([*command, "--no-vhost-buckets", "--configure-bucket", BUCKET], folder)


class Wire:
    """Passes connections on to a port, until so many bytes went to it.

    Args:
        port: of the server.
        limit: bytes from clients after which `on_limit` is called, once, and all connections are cut.
        on_limit: as above.
    """

    def __init__(self, port: int, limit: int, on_limit: Callable[[], None]) -> None:
        self._to = port
        self._left = limit
        self._on_limit = on_limit
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.cut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        self._cut_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._to), 5)
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
                if counted and self._reaches(len(data)):
                    self._on_limit()
                    self._cut_all()
                    self.cut.set()
        except OSError:
            pass
        for end in (source, sink):
            end.close()

    def _reaches(self, size: int) -> bool:
        with self._lock:
            before, self._left = self._left, self._left - size
            return before > 0 >= self._left

    def _cut_all(self) -> None:
        for each in self._sockets:
            each.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(**more: str) -> dict[str, str]:
    """Return this process's environment without what points to another S3, with `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, **more}
