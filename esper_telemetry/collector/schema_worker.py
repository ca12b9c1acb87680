"""A process that checks large schemas, so that neither time nor memory of it is the collector's.

`python -m esper_telemetry.collector.schema_worker` reads headers from its standard input and answers each with a
sentence, empty if the header can be used. Both are length-prefixed. It is started when it is needed, asked one thing at
a time, and ended after some checks or when it does not answer: whatever a schema does to it, the collector goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import sys
from typing import BinaryIO

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.header import add_types
from esper_telemetry.schema.descriptors import SchemaPool
from esper_telemetry.v1 import record_pb2

_LENGTH = struct.Struct("<I")
_ANSWER_S = 20.0
# What protobuf keeps of a checked schema is given back with the process.
_CHECKS = 32
_LONGEST_ANSWER = 4096
# A collector that sees a large schema now and then keeps no process for it.
_IDLE_S = 30.0


class WorkerError(Exception):
    """A schema could not be checked, for no reason of its own."""


class SchemaWorker:
    """The collector's end of it. Lives in one event loop."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._checks = 0
        self._idle: asyncio.TimerHandle | None = None

    async def check(self, header: bytes) -> str:
        """Return what is wrong with a serialized header; empty if a reader can use it.

        Raises:
            WorkerError: no process could be started, or two of them ended: nothing is known of the schema.
        """
        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            try:
                answer = await self._answer(header)
            except BaseException:
                await self._end()
                raise
            self._checks += 1
            if self._checks >= _CHECKS:
                await self._end()
            self._idle = asyncio.get_running_loop().call_later(_IDLE_S, self._kill)
            return answer

    async def _answer(self, header: bytes) -> str:
        """Ask, and ask a fresh process where the present one ends: this schema need not be the reason."""
        for _ in range(2):
            try:
                return await asyncio.wait_for(self._ask(header), _ANSWER_S)
            except TimeoutError:
                await self._end()
                return f"the schema could not be checked within {_ANSWER_S:g} s; simplify its .proto files"
            except (OSError, asyncio.IncompleteReadError) as error:
                ended = error
                await self._end()
        raise WorkerError(f"the process that checks schemas does not run: {type(ended).__name__}: {ended}")

    async def close(self) -> None:
        """End the process."""
        if self._idle is not None:
            self._idle.cancel()
        await self._end()

    async def _ask(self, header: bytes) -> str:
        process = self._process
        if process is None or process.returncode is not None:
            self._checks = 0
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-c",
                _BOOTSTRAP,
                *sys.path,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C for the collector is not for it
            )
        assert process.stdin is not None  # noqa: S101 - it has pipes
        assert process.stdout is not None  # noqa: S101 - it has pipes
        process.stdin.write(_LENGTH.pack(len(header)) + header)
        await process.stdin.drain()
        (size,) = _LENGTH.unpack(await process.stdout.readexactly(_LENGTH.size))
        return (await process.stdout.readexactly(size)).decode()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _kill(self) -> None:
        """End an idle process; the next check finds that it has ended."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


# The process finds this package where the collector found it.
_BOOTSTRAP = (
    "import sys; sys.path[:] = sys.argv[1:]; from esper_telemetry.collector.schema_worker import serve;"
    " serve(sys.stdin.buffer, open(1, 'wb', 0))"
)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the other end is closed; `answers` is not buffered."""
    while prefix := requests.read(_LENGTH.size):
        serialized = requests.read(*_LENGTH.unpack(prefix))
        try:
            answer = check_descriptors(record_pb2.Header.FromString(serialized))[:_LONGEST_ANSWER].encode(
                errors="replace"
            )
        except Exception as error:  # noqa: BLE001 - a schema that breaks the check is a bad one
            answer = f"the schema cannot be checked: {type(error).__name__}".encode()
        try:
            answers.write(_LENGTH.pack(len(answer)) + answer)
        except BrokenPipeError:  # the collector was killed
            return


def check_descriptors(header: record_pb2.Header) -> str:
    """Return what is wrong with the types of a header and their descriptors; empty if a reader can use them."""
    types: dict[int, str] = {}
    pool = SchemaPool()
    try:
        add_types(types, header)
        pool.add(header.file_descriptor_set)
        for name in types.values():
            pool.message_class(name)
    except CorruptRecordError as error:
        return str(error)
    return ""
