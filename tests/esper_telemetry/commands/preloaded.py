"""Processes of the command line that begin with its modules loaded: a server that forks one for each call.

What a call does is the same as by `python -m esper_telemetry`: a process with its own arguments, folder, pipes and
exit. It only begins behind the imports that all verbs share, which are nine tenths of a short call's processor time.
The server has one thread, loads neither gRPC nor Arrow, and ends with the process that started it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

# Read by the interpreter at its start, or by modules when they are loaded: in another environment, no server is used.
PER_TEST = "PYTEST_CURRENT_TEST"


class Server:
    """Starts at the first call.

    Attributes:
        environment: in which the modules were loaded.
    """

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._pid = 0

    def call(self, arguments: list[str], stdin: bytes | None, seconds: float) -> tuple[int, bytes, bytes] | None:
        """Run a call; return its exit code, stdout and stderr, or None if it needs an interpreter of its own.

        Raises:
            subprocess.TimeoutExpired: If it took longer than so many seconds; it is killed then.
        """
        if not self._lock.acquire(blocking=False):  # another thread's call may wait for what this one does
            return None
        try:
            if self._pid != os.getpid():
                self._start()
            if self.environment != _environment():
                return None
            return self._call(arguments, stdin, seconds)
        finally:
            self._lock.release()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            # Pipes, because the streams of a process remember of what kind their files were when it started.
            pipe = subprocess.PIPE
            process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT
            )
        self._socket, self._pid, self.environment = ours, os.getpid(), _environment()

        def end() -> None:
            ours.close()
            process.communicate()

        atexit.register(end)

    def _call(self, arguments: list[str], stdin: bytes | None, seconds: float) -> tuple[int, bytes, bytes]:
        connection = self._socket
        assert connection is not None
        given, taken = os.pipe() if stdin is not None else (os.open(os.devnull, os.O_RDONLY), -1)
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        request = json.dumps([str(Path.cwd()), os.environ.get(PER_TEST), arguments]).encode()
        socket.send_fds(connection, [len(request).to_bytes(4, "big")], [given, out_end, err_end])
        connection.sendall(request)
        for end in (given, out_end, err_end):
            os.close(end)
        pid = int(_received(connection, 8))
        try:
            found = _communicate(taken, stdin or b"", out, err, time.monotonic() + seconds)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            _received(connection, 8)
            raise subprocess.TimeoutExpired(arguments, seconds) from None
        return int(_received(connection, 8)), *found


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != PER_TEST}


def _communicate(into: int, data: bytes, out: int, err: int, deadline: float) -> tuple[bytes, bytes]:
    """Write to one pipe and read two others until they end; closes all three."""
    found: dict[int, list[bytes]] = {out: [], err: []}
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as ready:
        for end in (out, err):
            stack.callback(os.close, end)
            ready.register(end, selectors.EVENT_READ)
        if into >= 0:
            os.set_blocking(into, False)
            ready.register(into, selectors.EVENT_WRITE)
        try:
            while ready.get_map():
                events = ready.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    raise TimeoutError
                for key, _ in events:
                    if key.fd == into:
                        written = _written(into, data)
                        data = data[written:] if written >= 0 else b""
                        if not data:
                            ready.unregister(into)
                            os.close(into)
                            into = -1
                    elif chunk := os.read(key.fd, 1 << 16):
                        found[key.fd].append(chunk)
                    else:
                        ready.unregister(key.fd)
        finally:
            if into >= 0:
                os.close(into)
    return b"".join(found[out]), b"".join(found[err])


def _written(into: int, data: bytes) -> int:
    """Write what the pipe takes; return how much that was, or -1 if its reader is gone."""
    try:
        return os.write(into, data[: 1 << 16])
    except BrokenPipeError:
        return -1


def _received(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        more = connection.recv(count - len(found))
        assert more, "the server of the command line has ended"
        found += more
    return found


# --- in the server ----------------------------------------------------------------------------------------------------


def _serve(connection: socket.socket) -> list[Any] | None:
    """Fork a process for each request; return the request in such a process, and None at the end."""
    while True:
        head, fds, _, _ = socket.recv_fds(connection, 4, 3)
        if not head:
            return None
        request: list[Any] = json.loads(_received(connection, int.from_bytes(head, "big")))
        pid = os.fork()
        if not pid:
            connection.close()
            for number, fd in enumerate(fds):
                os.dup2(fd, number)
                os.close(fd)
            return request
        for fd in fds:
            os.close(fd)
        connection.sendall(b"%8d" % pid)
        connection.sendall(b"%8d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _main() -> None:
    import esper_telemetry.commands.group
    import esper_telemetry.decode
    import esper_telemetry.recordfile  # noqa: F401 - these are loaded for the processes that are forked

    sys.path[0] = ""  # as with `python -m`
    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    if request is None:
        return
    folder, test, arguments = request
    os.chdir(folder)
    if test is not None:
        os.environ[PER_TEST] = test
    sys.argv[1:] = arguments
    runpy.run_module("esper_telemetry", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
