"""Remove, cut, replace and move a collector's files and folders under load, and see what is told of what is gone."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile import HeaderInfo, RecordReader, RecordWriter
from tests.esper_telemetry.collector import chaos_client
from tests.esper_telemetry.collector.publisher import START, TYPES, make_batch

if TYPE_CHECKING:
    from pathlib import Path

PER_FRAME = 8
_LOST = re.compile(r"(\S+)/([0-9a-f]{8}): numbers (\d+) to (\d+) were durable and are lost")


@dataclass
class Outcome:
    """What was done and what came of it.

    Attributes:
        done: acts by name.
        missing: numbers that were acked and are in no file.
        unreported: of those, the ones that no line of the log names.
        counted: numbers that the metric counts as lost.
        twice: numbers that are in two files.
        changed: frames that are not as they were sent.
    """

    done: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    unreported: int = 0
    counted: int = 0
    twice: int = 0
    changed: int = 0


class Tampering:
    """One collector, some clients that keep their spools, and somebody who handles its files.

    Args:
        root: an empty folder.
        start_collector: the fixture.
        producers: how many; each has a run of its own.
        frames: of each.
        rate: frames a second of each.
        seed: of everything random.
    """

    def __init__(self, root: Path, start_collector, *, producers: int, frames: int, rate: float, seed: int) -> None:
        self.outcome = Outcome()
        self._aside, self._go, self._port = root / "aside", root / "go", root / "port"
        self._aside.mkdir()
        self._rng, self._rate = random.Random(seed), rate
        self._collector = start_collector(folder=root / "store")
        self._store = root / "store"
        self._port.write_text(str(self._collector.port))
        self._records = [_write_record(root / f"record{n}.esr.zst", f"run-{n}", frames) for n in range(producers)]
        self._clients = [self._client(record) for record in self._records]

    def run(self, acts: int) -> Outcome:
        """Do so many acts, let the clients come to their end, and look."""
        while sum(self.outcome.done.values()) < acts:
            time.sleep(self._rng.uniform(0.02, 0.4))
            with contextlib.suppress(FileNotFoundError):  # the collector puts files aside as well
                self._act()
        self._go.touch()
        self._finish()
        self._clients = [self._client(record) for record in self._records]  # who asks once more is told what is gone
        self._finish()
        metrics = f"http://127.0.0.1:{self._collector.metrics_port}/metrics"
        with urllib.request.urlopen(metrics, timeout=30) as answer:
            samples = answer.read().decode()
        counted = re.search(r"^esper_collector_lost_numbers_total (\S+)", samples, re.MULTILINE)
        self.outcome.counted = int(float(counted[1]))
        assert self._collector.terminate() == 0, self._collector.log()
        for record in self._records:
            self._look(record)
        return self.outcome

    def stop(self) -> None:
        for client in self._clients:
            if client.poll() is None:
                client.kill()
                client.wait()

    # --- what is done -------------------------------------------------------------------------------------------------

    def _act(self) -> None:
        folders = [path for path in self._store.iterdir() if path.is_dir()]
        files = [path for folder in folders for path in folder.glob("*.esr.zst")]
        if not files:
            return
        if self._rng.random() < 0.1:
            victim, acts = self._rng.choice(folders), [_remove_folder, self._move, _rename]
        else:
            acts = [os.unlink, self._move, _rename, self._cut, _cut_a_little, self._garble, _copy_over, self._swap]
            victim = self._rng.choice(files)
        act = self._rng.choice(acts)
        act(victim)
        self.outcome.done[act.__name__.strip("_")] += 1

    def _move(self, path: Path) -> None:
        path.rename(self._aside / f"{time.time_ns()}")

    def _cut(self, path: Path) -> None:
        os.truncate(path, self._rng.randrange(path.stat().st_size + 1))

    def _garble(self, path: Path) -> None:
        fresh = path.with_name("fresh")
        fresh.write_bytes(self._rng.randbytes(self._rng.randrange(5000)))
        fresh.replace(path)

    def _swap(self, path: Path) -> None:
        """Put a segment of some producer into the place of another one."""
        fresh = path.with_name("fresh")
        shutil.copy(self._rng.choice(self._records), fresh)
        fresh.replace(path)

    # --- what is left -------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        for client in self._clients:
            assert client.wait(timeout=240) == 0, self._collector.log()[-3000:]

    def _look(self, record: Path) -> None:
        with RecordReader(record) as reader:
            run_id, producer_id = reader.header.run_id, reader.header.producer_id
            sent = {ref.first_seq: reader.read_raw(ref) for ref in reader.frames()}
            last_seq = reader.segments[0].last_seq
        found: Counter[int] = Counter()
        for path in self._store.glob(f"{run_id}/*.esr.zst"):
            with contextlib.suppress(RecordError), RecordReader(path) as reader:
                if reader.header.file_id == _file_id(record) or reader.header.producer_id != producer_id:
                    continue  # what `_swap` put there
                for ref in reader.frames():
                    found[ref.first_seq] += 1
                    self.outcome.changed += reader.read_raw(ref) != sent[ref.first_seq]
        told = {
            number
            for run, producer, first, last in _LOST.findall(self._collector.log())
            if (run, producer) == (run_id, producer_id.hex()[:8])
            for number in range(int(first), int(last) + 1)
        }
        missing = {n for first in sent.keys() - found.keys() for n in range(first, first + PER_FRAME) if n <= last_seq}
        self.outcome.missing += len(missing)
        self.outcome.unreported += len(missing - told)
        self.outcome.twice += sum(count - 1 for count in found.values()) * PER_FRAME

    def _client(self, record: Path) -> subprocess.Popen:
        arguments = [record, record.with_suffix(".state"), self._port, self._rate, self._go, "keep"]
        command = [sys.executable, chaos_client.__file__, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GRPC_VERBOSITY": "NONE"}
        return subprocess.Popen(command, env=environment)


def _remove_folder(path: Path) -> None:
    shutil.rmtree(path)


def _rename(path: Path) -> None:
    path.rename(path.with_name(f"{path.name}.away-{time.time_ns()}"))


def _cut_a_little(path: Path) -> None:
    os.truncate(path, max(0, path.stat().st_size - 10))


def _copy_over(path: Path) -> None:
    fresh = path.with_name("fresh")
    shutil.copy(path, fresh)
    fresh.replace(path)


def _file_id(path: Path) -> bytes:
    with RecordReader(path) as reader:
        return reader.header.file_id


def _write_record(path: Path, run_id: str, frames: int) -> Path:
    header = HeaderInfo(run_id=run_id, producer_id=os.urandom(16), anchor_unix_nano=START)
    writer = RecordWriter(path, header, TYPES)
    for number in range(frames):
        writer.write(make_batch(1 + number * PER_FRAME, PER_FRAME))
    writer.close()
    return path
