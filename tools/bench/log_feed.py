"""A process that puts frames into a message log, in one of three ways; `log.py` starts it.

Its arguments: push, engine or bare; where; frames and bytes of a frame in a record; name of the log. Each line on stdin
is answered by a line on stdout: "write" makes the next record, "send" sends it and ends when everything is durable
(`bare`: when the stream has acked everything).
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import esper_telemetry
from esper_telemetry.recordfile import RecordReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.storage.engine import Cycle

# What a stream has on its way: frames and bytes, for the engine and for bare publishing alike.
WINDOW, WINDOW_BYTES = 512, 8 << 20


class Feed(Protocol):
    """A way into the log."""

    def send(self, path: Path) -> None:
        """Send a record; return when everything is durable."""


class Push:
    """Through a gateway, by gRPC, as an agent does."""

    def __init__(self, address: str, _: str) -> None:
        self._address = address

    def send(self, path: Path) -> None:
        """Send a record."""
        from stream import push_record

        push_record(self._address, path)


def _failures() -> Any:
    """Return where an engine counts failures: a checkout from before `daemon.failures` takes the metrics themselves."""
    try:
        from esper_telemetry.daemon.failures import TaskFailures
    except ModuleNotFoundError:
        from esper_telemetry.collector.metrics import Metrics

        return Metrics()
    return TaskFailures(logging.getLogger("bench"))


class Engine:
    """As a gateway does, without gRPC: the log and the consumer alone."""

    def __init__(self, url: str, name: str) -> None:
        from esper_telemetry.jetstream.deployment import LogSettings, Names
        from esper_telemetry.jetstream.gateway import GatewayEngine

        self._runner = asyncio.Runner()
        self._moved: asyncio.Event
        settings = LogSettings(servers=url, names=Names(name))

        async def start() -> GatewayEngine:
            self._moved = asyncio.Event()
            engine = GatewayEngine(settings, _failures())
            await engine.start(self._report)
            return engine

        self._engine = self._runner.run(start())

    def _report(self, _: Cycle) -> None:
        self._moved.set()

    def send(self, path: Path) -> None:
        """Send a record."""
        self._runner.run(self._send(path))

    async def _send(self, path: Path) -> None:
        from esper_telemetry.storage.engine import PutFrame, PutSchema
        from esper_telemetry.storage.naming import ProducerKey
        from esper_telemetry.v1 import record_pb2

        with RecordReader(path) as reader:
            header = record_pb2.Header()
            header.CopyFrom(reader.header)
            descriptors = header.file_descriptor_set
            header.ClearField("file_descriptor_set")
            lane: Any = (await self._engine.restore(ProducerKey(header.run_id, header.producer_id))).lane
            self._engine.claim(lane, 1)
            while not lane.writes(1):
                await self._wait()
            self._engine.put(lane, PutSchema(header, descriptors, b"f" * 32))
            last = 0
            for frame in reader.frames():
                raw = reader.read_raw(frame)
                while len(lane.waiting) >= min(WINDOW, WINDOW_BYTES // len(raw)):
                    await self._wait()
                self._engine.put(lane, PutFrame(raw, frame.descriptor))
                last = frame.last_seq
                await asyncio.sleep(0)
            while lane.numbers.durable_seq < last:
                await self._wait()
            self._engine.forget(lane)

    async def _wait(self) -> None:
        self._moved.clear()
        await self._moved.wait()


class Bare:
    """Published to a stream like the log's, one message a frame; done when the stream has acked all."""

    def __init__(self, url: str, name: str) -> None:
        self._runner = asyncio.Runner()
        self._runner.run(self._start(url, name))

    async def _start(self, url: str, name: str) -> None:
        import nats
        from nats.js.api import DiscardPolicy, StorageType, StreamConfig

        self._nc = await nats.connect(["nats://" + each for each in url.removeprefix("nats://").split(",")])
        self._subject = f"{name}.0"
        await self._nc.jetstream().add_stream(
            StreamConfig(
                name=name, subjects=[self._subject], num_replicas=3, storage=StorageType.FILE, max_bytes=1 << 30,
                discard=DiscardPolicy.OLD,
            )
        )  # fmt: skip
        self._acked, self._moved = 0, asyncio.Event()
        self._inbox = self._nc.new_inbox()
        await self._nc.subscribe(self._inbox, cb=self._ack)

    async def _ack(self, message: object) -> None:
        data: bytes = message.data  # type: ignore[attr-defined]
        if b'"error"' in data:
            raise SystemExit(data.decode())
        self._acked += 1
        self._moved.set()

    def send(self, path: Path) -> None:
        """Send a record."""
        self._runner.run(self._send(path))

    async def _send(self, path: Path) -> None:
        sent = self._acked = 0
        with RecordReader(path) as reader:
            for frame in reader.frames():
                raw = reader.read_raw(frame)
                most = min(WINDOW, WINDOW_BYTES // len(raw))
                await self._until(sent - most + 1)
                await self._nc.publish(self._subject, raw, reply=self._inbox)
                sent += 1
            await self._until(sent)

    async def _until(self, acked: int) -> None:
        while self._acked < acked:
            self._moved.clear()
            await self._moved.wait()


def main() -> None:
    """Answer requests until stdin ends."""
    way, where, count, size, name = sys.argv[1:6]
    sys.path.insert(0, str(Path(esper_telemetry.__file__).parents[1] / "tools" / "bench"))  # of that checkout
    from stream import write_record

    feeds: dict[str, Callable[[str, str], Feed]] = {"push": Push, "engine": Engine, "bare": Bare}
    feed = feeds[way](where, name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path()
        for line in sys.stdin:
            if line == "write\n":
                path = write_record(Path(folder), int(count), int(size))
            else:
                feed.send(path)
                path.unlink()
            print("done", flush=True)
