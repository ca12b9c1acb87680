"""Kill everything at random, take away what a power loss would have taken, and count what is left."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from esper_telemetry.recordfile import HeaderInfo, RecordReader, RecordWriter
from tests.esper_telemetry.collector import chaos_client
from tests.esper_telemetry.collector.publisher import START, TYPES, make_batch, stored

if TYPE_CHECKING:
    from pathlib import Path

PER_FRAME = 8


@dataclass
class Outcome:
    """What a trial did and what is left of it.

    Attributes:
        collector_kills, client_kills, torn: what was done; `torn` counts files cut or holed.
        lost: acked events that are not in the collector's files.
        unfinished: events that should be there when all clients are done, and are not.
    """

    collector_kills: int = 0
    client_kills: int = 0
    torn: int = 0
    lost: int = 0
    unfinished: int = 0


def lose_power(store: Path, journal: Path, rng: random.Random) -> int:
    """Cut files anywhere behind their last sync, and blank a page of what stays unsynced; return how many."""
    torn = 0
    synced: dict[str, int] = {}
    for line in journal.read_text().splitlines() if journal.exists() else ():
        path, size = line.split("\t")
        synced[path] = int(size)
    for path in store.glob("*/*.esr.zst"):
        size, safe = path.stat().st_size, synced.get(str(path), 0)
        if size <= safe:
            continue
        end = rng.randint(safe, size) if rng.random() < 0.7 else size
        os.truncate(path, end)
        torn += 1
        if end > safe and rng.random() < 0.5:
            at = rng.randrange(safe, end)
            with path.open("r+b") as file:
                file.seek(at)
                file.write(bytes(min(rng.randrange(1, 4096), end - at)))
    return torn


class Trial:
    """Some producers and one collector, all killed now and then.

    Args:
        root: an empty folder.
        start_collector: the fixture.
        early: have the collector ack before it syncs.
    """

    def __init__(
        self, root: Path, start_collector, *, producers: int, frames: int, rate: float, early: bool, seed: int
    ):
        self.store = root / "store"
        self.outcome = Outcome()
        self._journal, self._port = root / "journal", root / "port"
        self._rng = random.Random(seed)
        self._extra = (str(self._journal), "early") if early else (str(self._journal),)
        self._start_collector, self._rate = start_collector, rate
        self._records = [self._write_record(root / f"record{n}.esr.zst", frames) for n in range(producers)]
        self._start()
        self._clients = [self._client(record) for record in self._records]

    def run(self, collector_kills: int, client_kills: int) -> Outcome:
        """Kill so often, then let all clients come to their end, and look."""
        kills = ["collector"] * collector_kills + ["client"] * client_kills
        self._rng.shuffle(kills)
        for victim in kills:
            time.sleep(self._rng.uniform(0.1, 0.5))
            if victim == "collector":
                self._kill_collector()
            else:
                self._kill_client()
        for client in self._clients:
            assert client.wait(timeout=240) == 0
        self._kill_collector(restart=False)
        self._look()
        return self.outcome

    def stop(self) -> None:
        for client in self._clients:
            if client.poll() is None:
                client.kill()
                client.wait()

    # --- what is killed -----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._collector = self._start_collector(*self._extra, folder=self.store)
        fresh = self._port.with_suffix(".new")
        fresh.write_text(str(self._collector.port))
        fresh.replace(self._port)

    def _kill_collector(self, *, restart: bool = True) -> None:
        self._collector.kill()
        self._lose_power()
        self.outcome.collector_kills += 1
        if restart:
            self._start()

    def _kill_client(self) -> None:
        number = self._rng.randrange(len(self._clients))
        client = self._clients[number]
        if client.poll() is None:
            client.kill()
            client.wait()
            self.outcome.client_kills += 1
            self._clients[number] = self._client(self._records[number])

    def _lose_power(self) -> None:
        self.outcome.torn += lose_power(self.store, self._journal, self._rng)

    # --- what is left -------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        from esper_telemetry.storage.recovery import recover

        recover(self.store)
        for record in self._records:
            with RecordReader(record) as reader:
                raw = [reader.read_raw(ref) for ref in reader.frames()]
                wanted = _Identity(reader.header.run_id, reader.header.producer_id)
            found = stored(self.store, wanted)  # raises where a frame is stored twice or files have holes
            missing = len(set(raw) - set(found)) * PER_FRAME
            assert not set(found) - set(raw), "a frame that was never sent"
            acked = int(record.with_suffix(".state").read_text())
            self.outcome.lost += min(missing, acked)
            self.outcome.unfinished += missing

    def _client(self, record: Path) -> subprocess.Popen:
        arguments = [record, record.with_suffix(".state"), self._port, self._rate]
        command = [sys.executable, chaos_client.__file__, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GRPC_VERBOSITY": "NONE"}
        return subprocess.Popen(command, env=environment)

    @staticmethod
    def _write_record(path: Path, frames: int) -> Path:
        header = HeaderInfo(run_id="20261122T223328Z-chaos-1f3a9c", producer_id=os.urandom(16), anchor_unix_nano=START)
        writer = RecordWriter(path, header, TYPES)
        for number in range(frames):
            writer.write(make_batch(1 + number * PER_FRAME, PER_FRAME))
        writer.close()
        return path


@dataclass
class _Identity:
    run_id: str
    producer_id: bytes
