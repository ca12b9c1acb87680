"""Events from a trainer to a collector's disk, beside OTLP logs; and record files pushed, beside bare gRPC.

    python tools/bench/stream.py [--events N] [--rounds N] [--frames N] [--otel-python PYTHON] [--only TABLE]

First table: one process emits typed events, another makes them durable. Ours is a run with a collector
(trainer + agent); OTLP is opentelemetry-sdk with large batches and queues, so that it drops nothing, to a receiver
that does no more than write and fdatasync what it is sent. Wall time ends when everything is durable, process
starts included on both sides. Second table: the frames of a finished record, 256 KiB each and not compressible, by
`push` and by a bare gRPC stream of the same bytes into a file that is fdatasynced (a few: Hello and Close are what one
sees). Third: what an event costs the collector for each `--validate`. Fourth: a fork with a collector and without.
Loopback only. Without opentelemetry-sdk (pip install opentelemetry-exporter-otlp-proto-grpc) its row is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import figures
from paired import Timings, alternate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

OURS, LOGS = "trainer + agent -> collector", "OTLP logs -> a receiver that fsyncs"
FRAME_BYTES = 256 * 1024
WINDOW = 32
EVENTS_A_FRAME = 4096

TRAINER = """
import sys, esper_telemetry as et
folder, address, events = sys.argv[1], sys.argv[2], int(sys.argv[3])
record = et.RecordOptions(buffer_bytes=1 << 30)
with et.start_run(folder, name="bench", collector=address, record=record, strict=True) as run:
    emit = run.bind(batch_idx=1, episodes_completed=4).emit
    for step in range(events):
        emit(et.events.PpoUpdateCompleted, policy_loss=-0.0132, value_loss=0.41, entropy=1.72,
                 kl_divergence=step * 1e-6, clip_fraction=0.11, lr=3e-4, grad_norm=step / 7)
"""

FORKS = """
import os, sys, time, esper_telemetry as et
with et.start_run(sys.argv[1], name="forks", collector=sys.argv[2] or None, strict=True) as run:
    started = time.perf_counter()
    for step in range(int(sys.argv[3])):
        run.emit(et.events.ScalarLogged, name="loss", value=1.0, step=step)
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    print(time.perf_counter() - started)
"""

OTLP = """
import sys, time, logging
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry._logs import SeverityNumber, LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
address, events = sys.argv[1], int(sys.argv[2])
provider = LoggerProvider()
provider.add_log_record_processor(BatchLogRecordProcessor(
    OTLPLogExporter(endpoint=address, insecure=True), max_queue_size=1 << 22, max_export_batch_size=4096,
    schedule_delay_millis=200))
logger = provider.get_logger("bench")
for step in range(events):
    logger.emit(LogRecord(
        timestamp=time.time_ns(), severity_number=SeverityNumber.INFO, event_name="ppo.update_completed",
        attributes={"policy_loss": -0.0132, "value_loss": 0.41, "entropy": 1.72, "kl_divergence": step * 1e-6,
                    "clip_fraction": 0.11, "lr": 3e-4, "grad_norm": step / 7}))
provider.force_flush(600_000)
provider.shutdown()
"""


# --- receivers --------------------------------------------------------------------------------------------------------


class Receiver:
    """A process that receives; it prints one line when it listens.

    Attributes:
        address: where it listens.
        pid: of the process.
    """

    def __init__(self, *command: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._process = subprocess.Popen([*command, self.address], stderr=subprocess.DEVNULL)
        self.pid = self._process.pid
        while True:
            with contextlib.suppress(OSError), socket.create_connection(self.address.split(":"), 1):  # type: ignore[arg-type]  # a pair
                return
            time.sleep(0.02)

    def cpu(self) -> float:
        """Return the seconds of processor time it has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


async def receive_bare(path: Path, address: str) -> None:
    """Serve OTLP exports and a bare stream: write what comes, fdatasync, then answer."""
    import grpc

    file = path.open("wb", buffering=0)

    async def export(request: bytes, _: Any) -> bytes:
        file.write(request)
        os.fdatasync(file.fileno())
        return b""

    async def stream(requests: Any, _: Any) -> Any:
        count = 0
        async for request in requests:
            file.write(request)
            count += 1
            if count % 8 == 0:
                os.fdatasync(file.fileno())
                yield count.to_bytes(8, "little")
        os.fdatasync(file.fileno())
        yield count.to_bytes(8, "little")

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "opentelemetry.proto.collector.logs.v1.LogsService",
                {"Export": grpc.unary_unary_rpc_method_handler(export)},
            ),
            grpc.method_handlers_generic_handler("bench.Bare", {"Send": grpc.stream_stream_rpc_method_handler(stream)}),
        )
    )
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


# --- senders ----------------------------------------------------------------------------------------------------------


def send_events(address: str, events: int, folder: Path) -> None:
    """Run a trainer with a collector; return when all is durable there and the agent has ended."""
    runs = Path(tempfile.mkdtemp(dir=folder))
    subprocess.run([sys.executable, "-c", TRAINER, str(runs), address, str(events)], check=True)
    (log,) = runs.glob("*/agent.log")
    while "complete" not in log.read_text():
        time.sleep(0.005)
    os.waitpid(int(log.read_text().partition("[")[2].partition("]")[0]), 0)


def send_logs(python: str, address: str, events: int) -> None:
    """Emit the same events as OTLP log records; return when all are durable."""
    subprocess.run([python, "-c", OTLP, address, str(events)], check=True)


async def send_bare(address: str, frames: list[bytes]) -> None:
    """Stream the bytes with a window of WINDOW messages."""
    import grpc

    moved = asyncio.Event()
    done = 0

    async def read(call: Any) -> None:
        nonlocal done
        while (answer := await call.read()) is not grpc.aio.EOF:
            done = int.from_bytes(answer, "little")
            moved.set()

    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream("/bench.Bare/Send")()
        reader = asyncio.create_task(read(call))
        for number, frame in enumerate(frames):
            while number - done >= WINDOW:
                moved.clear()
                await moved.wait()
            await call.write(frame)
        await call.done_writing()
        await reader


def push_record(address: str, path: Path) -> None:
    """Push a record; return when all is durable."""
    from esper_telemetry.uplink.delivery import PushOptions
    from esper_telemetry.uplink.endpoint import Endpoint
    from esper_telemetry.uplink.sender import push

    (report,) = push([path], Endpoint(address), PushOptions(), lambda _: None)
    if report.error or report.skipped:
        raise SystemExit(f"the push failed: {report}")


def write_record(folder: Path, count: int, frame_bytes: int = FRAME_BYTES) -> Path:
    """Write a record with `count` frames of `frame_bytes` that do not compress, under a producer of its own."""
    from esper_telemetry.schema import frame_event
    from esper_telemetry.v1 import training_pb2

    noise = os.urandom(frame_bytes)
    return _write(folder, training_pb2.ScalarLogged, ([frame_event(1, n, n, b"", noise)] for n in range(1, count + 1)))


def write_events(folder: Path, count: int) -> Path:
    """Write a record with `count` frames of EVENTS_A_FRAME events, under a producer of its own."""
    from esper_telemetry.schema import frame_event
    from esper_telemetry.schema.context import encode_context
    from esper_telemetry.v1 import training_pb2

    context = encode_context({"batch_idx": 1, "episodes_completed": 4})

    def event(seq: int) -> bytes:
        payload = training_pb2.PpoUpdateCompleted(
            policy_loss=-0.0132, value_loss=0.41, entropy=1.72, kl_divergence=seq * 1e-6, clip_fraction=0.11, lr=3e-4
        )
        return frame_event(1, seq, seq, context, payload.SerializeToString())

    firsts = range(1, count * EVENTS_A_FRAME, EVENTS_A_FRAME)
    frames = ([event(seq) for seq in range(first, first + EVENTS_A_FRAME)] for first in firsts)
    return _write(folder, training_pb2.PpoUpdateCompleted, frames)


def _write(folder: Path, event_class: Any, frames: Iterable[list[bytes]]) -> Path:
    from esper_telemetry.recordfile import HeaderInfo, RecordWriter, random_id
    from esper_telemetry.schema import Batch, event_type

    path = Path(tempfile.mkdtemp(dir=folder)) / "bench.esr.zst"
    header = HeaderInfo(run_id="bench", producer_id=random_id(), anchor_unix_nano=time.time_ns())
    writer = RecordWriter(path, header, [(1, event_type(event_class))], level=1)
    first = 1
    for events in frames:
        last = first + len(events) - 1
        writer.write(Batch(events, [1] * len(events), first, last, first, last))
        first = last + 1
    writer.close()
    return path


# --- tables -----------------------------------------------------------------------------------------------------------


def bench_events(args: argparse.Namespace, collector: Receiver, bare: Receiver, folder: Path) -> None:
    """Print wall and processor time of a trainer with a collector beside OTLP logs."""
    used: dict[str, list[float]] = defaultdict(list)

    def measured(name: str, receiver: Receiver, work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            client, server = children_cpu(), receiver.cpu()
            work()
            used[name].append(children_cpu() - client)
            used[f"{name}, server"].append(receiver.cpu() - server)

        return run

    many, few, python = args.events, args.events // 10, args.otel_python
    contenders = {
        f"{OURS}, {count:,}": measured(
            f"{OURS}, {count:,}", collector, partial(send_events, collector.address, count, folder)
        )
        for count in (many, few)
    }
    if subprocess.run([python, "-c", "import opentelemetry.sdk._logs"], check=False, capture_output=True).returncode:
        print(f"{python} has no opentelemetry-sdk: its rows are left out")
    else:
        for count in (many, few):
            name = f"{LOGS}, {count:,}"
            contenders[name] = measured(name, bare, partial(send_logs, python, bare.address, count))
    timings = alternate(contenders, rounds=args.rounds)
    print("until everything is durable, process starts included")
    long = Timings({name: seconds for name, seconds in timings.seconds.items() if name.endswith(f", {many:,}")})
    print(long.table(base=f"{OURS}, {many:,}", per=many, unit="event"))
    if f"{LOGS}, {many:,}" in contenders:
        ratio = long.ratio(f"{LOGS}, {many:,}", f"{OURS}, {many:,}")
        subject = f"time of OTLP logs until {many:,} events are durable, process starts included"
        figures.report(subject, ratio, of="a run with a collector", headline=True)
    print(f"an event more costs, microseconds (beside rounds of {few:,} events)")
    for name in {row.rpartition(", ")[0]: None for row in contenders}:
        wall, cpu, server = (
            (
                statistics.median(times[f"{name}, {many:,}{suffix}"])
                - statistics.median(times[f"{name}, {few:,}{suffix}"])
            )
            / (many - few)
            * 1e6
            for times, suffix in ((timings.seconds, ""), (used, ""), (used, ", server"))
        )
        print(f"  {name:<44} wall {wall:.2f}   processor: sending side {cpu:.2f}, receiving side {server:.2f}")


def children_cpu() -> float:
    """Return the processor time of all children that have ended, seconds."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def bench_bytes(count: int, rounds: int, collector: Receiver, bare: Receiver, folder: Path) -> None:
    """Print the time of a push beside that of a bare stream of the same bytes."""
    from esper_telemetry.recordfile import RecordReader

    paths: Iterator[Path] = iter([write_record(folder, count) for _ in range(rounds + 1)])
    with RecordReader(write_record(folder, count)) as reader:
        frames = [reader.read_raw(frame) for frame in reader.frames()]
    timings = alternate(
        {
            "bare gRPC stream, same bytes, fsynced": lambda: asyncio.run(send_bare(bare.address, frames)),
            "esper-telemetry push": lambda: push_record(collector.address, next(paths)),
        },
        rounds=rounds,
    )
    print(f"{count} frames of {len(frames[0]):,} bytes a round")
    bare_stream = "bare gRPC stream, same bytes, fsynced"
    print(timings.table(base=bare_stream, per=count, unit="frame"))
    figures.report("time of `push` of a record", timings.ratio("esper-telemetry push", bare_stream), of=bare_stream)


def bench_checks(frames: int, rounds: int, folder: Path) -> None:
    """Print the processor time of the collector for each event, for each way of checking frames."""
    with contextlib.ExitStack() as stack:
        collectors = {}
        for mode in ("off", "sample", "full"):
            collect = [sys.executable, "-m", "esper_telemetry", "collect", "--dir", str(folder / mode)]
            collectors[mode] = Receiver(*collect, "--validate", mode, "--listen")
            stack.callback(collectors[mode].end)
        used: dict[str, list[float]] = defaultdict(list)
        for number in range(rounds + 1):
            for mode, collector in collectors.items():
                path, before = write_events(folder, frames), collector.cpu()
                push_record(collector.address, path)
                if number:  # the first one warms up
                    used[mode].append((collector.cpu() - before) / (frames * EVENTS_A_FRAME))
    print(f"processor time of the collector, {EVENTS_A_FRAME:,} events a frame, {frames} frames a round")
    for mode, seconds in used.items():
        low, median, high = (1e6 * value for value in statistics.quantiles(seconds, n=4, method="inclusive"))
        print(f"  --validate {mode:<10} {median:.3f} us/event   [{low:.3f}-{high:.3f}]")


def bench_forks(rounds: int, collector: Receiver, folder: Path, count: int = 300) -> None:
    """Print the time of an event and a fork, with a collector and without."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        for name, address in (("a run alone", ""), ("a run with a collector", collector.address)):
            command = [sys.executable, "-c", FORKS, tempfile.mkdtemp(dir=folder), address, str(count)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            if number:  # the first one warms up
                seconds[name].append(float(said))
    print(f"{count} forks a round")
    print(Timings(seconds).table(base="a run alone", per=count, unit="fork"))


def adopt_orphans() -> None:
    """Become the parent of agents whose trainer has ended, so that their processor time is counted."""
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def main() -> None:
    """Run the benches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=1600)
    parser.add_argument("--otel-python", default=sys.executable)
    parser.add_argument("--only", choices=("events", "bytes", "checks", "forks"), help="one of the tables")
    parser.add_argument("--receive", nargs=2, metavar=("FILE", "ADDRESS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.receive:
        asyncio.run(receive_bare(Path(args.receive[0]), args.receive[1]))
        return
    adopt_orphans()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        collect = [sys.executable, "-m", "esper_telemetry", "collect", "--dir", str(folder / "collected")]
        collector = Receiver(*collect, "--listen")
        stack.callback(collector.end)
        bare = Receiver(sys.executable, __file__, "--receive", str(folder / "bare"))
        stack.callback(bare.end)
        tables = {
            "events": partial(bench_events, args, collector, bare, folder),
            "bytes": partial(bench_bytes, args.frames, args.rounds, collector, bare, folder),
            "checks": partial(bench_checks, args.frames, args.rounds, folder),
            "forks": partial(bench_forks, args.rounds, collector, folder),
        }
        for table in [tables[args.only]] if args.only else tables.values():
            table()


if __name__ == "__main__":
    main()
