"""Many producers on one collector: memory of each, none starved, answers of its probes, and the time of a drain.

    python tools/bench/producers.py [--producers N] [--seconds S] [--pause S] [--drain N]

One process holds N streams open and sends a small frame on each about every `pause` seconds, as slow trainers do; the
collector makes every one durable and acks it. Printed are the collector's memory a stream, the fewest and the most
frames that were acked on a stream, the collector's memory from quarter to quarter, its processor time a frame, the
files it has open, how long another process waits for its health and its metrics meanwhile, and how long it takes from
SIGTERM to its end with so many streams under way. Loopback only. With 10,000 producers there are 10,000 files.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from stream import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EVENTS_A_FRAME = 20
_A_CHANNEL = 100
_HEARTBEAT_S = 10.0
_PROBE_EVERY_S = 0.1


class Frames:
    """Frames that every producer sends; only the header tells producers apart.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        from esper_telemetry.recordfile import HeaderInfo, RecordReader, RecordWriter
        from esper_telemetry.schema import Batch, event_type, frame_event
        from esper_telemetry.schema.fingerprint import merged_header, schema_fingerprint
        from esper_telemetry.v1 import collector_pb2, training_pb2

        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "frames.esr.zst"
            header = HeaderInfo(run_id="bench", producer_id=bytes(16), anchor_unix_nano=time.time_ns())
            writer = RecordWriter(path, header, [(1, event_type(training_pb2.ScalarLogged))])
            for number in range(count):
                first, last = number * EVENTS_A_FRAME + 1, (number + 1) * EVENTS_A_FRAME
                events = [frame_event(1, seq, seq, b"", b"") for seq in range(first, last + 1)]
                writer.write(Batch(events, [1] * EVENTS_A_FRAME, first, last, first, last))
            writer.close()
            with RecordReader(path) as reader:
                self._header = merged_header(reader.header, reader.descriptor_sets)
                self.batches = [
                    collector_pb2.ClientMessage(
                        batch=collector_pb2.Batch(
                            first_seq=ref.first_seq,
                            last_seq=ref.last_seq,
                            count=ref.records,
                            raw_len=ref.raw_size,
                            crc32=crc32(raw := reader.read_raw(ref)),
                            payload=raw,
                        )
                    )
                    for ref in reader.frames()
                ]
        self._fingerprint = schema_fingerprint(self._header)
        self.frame_bytes = sum(len(each.batch.payload) for each in self.batches) / len(self.batches)

    def opening(self, number: int) -> list[Any]:
        """Return Hello and Schema of producer `number`."""
        from esper_telemetry.v1 import collector_pb2

        run_id, producer_id = f"bench-{number % 100}", os.urandom(16)
        hello = collector_pb2.ClientMessage()
        hello.hello.min_protocol = hello.hello.max_protocol = hello.hello.session_epoch = 1
        hello.hello.schema_fingerprint = self._fingerprint
        schema = collector_pb2.ClientMessage()
        schema.schema.fingerprint = self._fingerprint
        schema.schema.header.CopyFrom(self._header)
        for said in (hello.hello, schema.schema.header):
            said.run_id, said.producer_id = run_id, producer_id
        return [hello, schema]


class Crowd:
    """Streams that are open.

    Args:
        frames: what each sends, in order.
        address: of the collector.
        pause_s: from frame to frame of a stream, on average, seconds.

    Attributes:
        acked: frames that are durable, of each stream.
        endings: status and words of each stream that has ended.
    """

    def __init__(self, frames: Frames, address: str, pause_s: float) -> None:
        self._frames = frames
        self._address = address
        self._pause_s = pause_s
        self._tasks: list[asyncio.Task[None]] = []
        self._channels: list[Any] = []
        self.acked: list[int] = []
        self.endings: list[str] = []

    async def grow(self, count: int) -> None:
        """Open `count` streams, and return when each has its Welcome, or has ended."""
        import grpc

        from esper_telemetry.v1 import collector_pb2_grpc

        for start in range(0, count, _A_CHANNEL):  # a Hello has to come within 5 s: not all at once
            channel = grpc.aio.insecure_channel(self._address, options=[("grpc.use_local_subchannel_pool", 1)])
            self._channels.append(channel)
            stub = collector_pb2_grpc.CollectorStub(channel)  # type: ignore[no-untyped-call]  # generated
            answered = [asyncio.Event() for _ in range(min(_A_CHANNEL, count - start))]
            for event in answered:
                self.acked.append(0)
                self._tasks.append(asyncio.create_task(self._produce(stub.Publish(), len(self.acked) - 1, event.set)))
            for event in answered:
                await event.wait()

    async def leave(self) -> None:
        """Wait until the collector has ended all streams."""
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def cancel(self) -> None:
        """End all streams at once."""
        await asyncio.gather(*(channel.close() for channel in self._channels))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _produce(self, call: Any, number: int, on_answer: Callable[[], None]) -> None:
        import grpc

        reader = asyncio.create_task(self._read(call, number, on_answer))
        try:
            for message in self._frames.opening(number):
                await call.write(message)
            for batch in self._frames.batches:
                await self._wait(call, random.uniform(0.5, 1.5) * self._pause_s)  # noqa: S311 - no secret
                await call.write(batch)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the reader knows how it ended
        await reader

    async def _wait(self, call: Any, seconds: float) -> None:
        """Wait, with heartbeats: a stream that is silent for 30 s is ended."""
        from esper_telemetry.v1 import collector_pb2

        while seconds > _HEARTBEAT_S:
            await asyncio.sleep(_HEARTBEAT_S)
            await call.write(collector_pb2.ClientMessage(heartbeat=collector_pb2.Heartbeat()))
            seconds -= _HEARTBEAT_S
        await asyncio.sleep(seconds)

    async def _read(self, call: Any, number: int, on_answer: Callable[[], None]) -> None:
        import grpc

        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                on_answer()
                self.acked[number] = max(self.acked[number], message.ack.durable_seq // EVENTS_A_FRAME)
        except grpc.aio.AioRpcError:
            pass
        self.endings.append(f"{(await call.code()).name} {await call.details()}".strip())
        on_answer()


def resident(pid: int) -> int:
    """Return the memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    """Return how many files a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def bench_hold(collector: Receiver, metrics: str, frames: Frames, args: argparse.Namespace) -> None:
    """Print memory and frames of streams that are held open, and how long probes wait meanwhile."""
    producers, seconds = args.producers, args.seconds
    warm = Crowd(frames, collector.address, args.pause)
    await warm.grow(20)
    await asyncio.sleep(10)
    before = resident(collector.pid)
    crowd = Crowd(frames, collector.address, args.pause)
    began = time.perf_counter()
    await crowd.grow(producers)
    grown_s = time.perf_counter() - began
    connected, cpu, started = sum(crowd.acked), collector.cpu(), time.perf_counter()
    probing = [sys.executable, __file__, "--probe", collector.address, metrics, "--seconds", str(seconds)]
    probe = await asyncio.create_subprocess_exec(*probing, stdout=subprocess.PIPE)
    sizes: list[int] = []
    for _ in range(4):
        await asyncio.sleep(seconds / 4)
        sizes.append(resident(collector.pid))
    elapsed, used = time.perf_counter() - started, collector.cpu() - cpu
    acked, early, files = sorted(crowd.acked), len(crowd.endings), open_files(collector.pid)
    count = sum(acked) - connected
    answers = json.loads((await probe.communicate())[0])
    await warm.cancel()
    await crowd.cancel()
    rate = count / elapsed
    print(f"{producers:,} producers, connected in {grown_s:.0f} s, held for {elapsed:.0f} s")
    print(f"  frames made durable          {rate:,.0f} a second of {frames.frame_bytes:.0f} bytes")
    print(f"  processor of the collector   {used / elapsed:.2f} cores, {used / max(count, 1) * 1e6:.0f} us a frame")
    print(f"  memory of the collector      {(sizes[-1] - before) / producers / 1024:.0f} KB a stream")
    print(f"  from quarter to quarter      {', '.join(f'{size / 2**20:.0f}' for size in sizes)} MB")
    print(f"  files it has open            {files:,}")
    print(f"  frames acked on a stream     {acked[0]} at least, {acked[len(acked) // 2]} median, {acked[-1]} at most")
    print(f"  streams ended too early      {early} {dict(Counter(crowd.endings[:early])) or ''}")
    for name, times in answers.items():
        half, most = times[len(times) // 2], times[int(len(times) * 0.99)]
        print(f"  {name:<28} {half:.0f} ms median, {most:.0f} ms p99, of {len(times)}")


def probe_for(seconds: float, address: str, metrics: str) -> None:
    """Ask for health and metrics again and again; print how long each answer took, ms, sorted."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(address))
    times: dict[str, list[float]] = {"health": [], "metrics": []}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        stub.Check(health_pb2.HealthCheckRequest(), timeout=30)
        times["health"].append((time.perf_counter() - started) * 1e3)
        started = time.perf_counter()
        connection = http.client.HTTPConnection(metrics, timeout=30)
        connection.request("GET", "/metrics")
        connection.getresponse().read()
        connection.close()
        times["metrics"].append((time.perf_counter() - started) * 1e3)
        time.sleep(_PROBE_EVERY_S)
    print(json.dumps({name: sorted(found) for name, found in times.items()}))


async def bench_drain(collector: Receiver, frames: Frames, args: argparse.Namespace) -> None:
    """Print how long a collector takes to end while streams send."""
    crowd = Crowd(frames, collector.address, args.pause)
    await crowd.grow(args.drain)
    await asyncio.sleep(3 * args.pause)
    started = time.perf_counter()
    os.kill(collector.pid, signal.SIGTERM)
    _, status = await asyncio.to_thread(os.waitpid, collector.pid, 0)
    seconds = time.perf_counter() - started
    await crowd.leave()
    ended = Counter(crowd.endings)
    print(f"SIGTERM with {args.drain:,} streams: exit code {os.waitstatus_to_exitcode(status)} after {seconds:.2f} s")
    print(f"  streams ended with           {', '.join(f'{name} {count:,}' for name, count in ended.items())}")


def main() -> None:
    """Run both benches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--producers", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pause", type=float, default=2.0, help="Seconds from frame to frame of a stream.")
    parser.add_argument("--drain", type=int, default=500)
    parser.add_argument("--probe", nargs=2, metavar=("ADDRESS", "METRICS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.probe:
        probe_for(args.seconds, *args.probe)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # the collector inherits it
    print(f"open files allowed: {hard:,} (was {soft:,})")
    asyncio.run(bench(args))


async def bench(args: argparse.Namespace) -> None:
    """Run both benches, in one event loop."""
    frames = Frames(int(args.seconds / args.pause) * 6 + 30)
    with collecting(args.producers) as (collector, metrics):
        await bench_hold(collector, metrics, frames, args)
    with collecting(args.drain) as (collector, _):
        await bench_drain(collector, frames, args)


@contextlib.contextmanager
def collecting(streams: int) -> Iterator[tuple[Receiver, str]]:
    """A collector with a folder of its own, for so many streams and some more, and the address of its metrics."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        metrics = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        collect = [sys.executable, "-m", "esper_telemetry", "collect", "--dir", f"{folder}/collected"]
        collector = Receiver(*collect, "--max-streams", str(streams + 100), "--metrics", metrics, "--listen")
        try:
            yield collector, metrics
        finally:
            collector.end()


if __name__ == "__main__":
    main()
