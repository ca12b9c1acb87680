"""Kill servers of the log, gateways and consumers at random while producers stream, and count what is left."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.recordfile import RecordReader
from tests.esper_telemetry.collector import chaos_client
from tests.esper_telemetry.collector.certificate_files import make_certificate
from tests.esper_telemetry.collector.chaos import Trial
from tests.esper_telemetry.jetstream.deployment import ENVIRONMENT, Deployment
from tests.esper_telemetry.jetstream.natscluster import NatsCluster, wait_until

if TYPE_CHECKING:
    from pathlib import Path

STREAM = "esper-log"


@dataclass
class Outcome:
    """What a trial did and what is left of it.

    Attributes:
        kills: by victim.
        frames: that were produced.
        lost: frames that clients were told are durable, and no consumer's folder holds.
        unfinished: frames that no consumer's folder holds.
        left: messages in the stream after the end.
        seconds: from the first frame to the last ack.
    """

    kills: dict[str, int] = field(default_factory=dict)
    frames: int = 0
    lost: int = 0
    unfinished: int = 0
    left: int = 0
    seconds: float = 0.0


def _secured(folder: Path) -> tuple[str, tuple[object, ...]]:
    """Return what servers are told that want TLS and a user, and the options with which they are reached."""
    certificate, key = make_certificate(folder, "servers")
    (folder / "user.toml").write_text('user = "esper"\npassword = "secret"\n')
    tls = f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}\n'
    options = ("--log-tls-ca", certificate, "--log-credentials", folder / "user.toml")
    return tls + "authorization { user: esper, password: secret }\n", options


class LogTrial:
    """A cluster, gateways, consumers and producers that stream through them.

    Args:
        root: an empty folder.
        producers: how many.
        frames: of each producer.
        rate: frames a second of each producer.
        seed: of everything random.
        program: runs the consumers; the real one unless a control is wanted.
        secured: the servers want TLS with an authority of their own, and a user.
        nats_server: the servers' program.
    """

    def __init__(
        self, root: Path, *, producers: int, frames: int, rate: float, seed: int, gateways: int, consumers: int,
        servers: int = 3, program: tuple[object, ...] = ("-m", "esper_telemetry", "consume"), secured: bool = False,
        nats_server: str | None = None,
    ) -> None:  # fmt: skip
        self.outcome = Outcome(frames=producers * frames)
        self._rng = random.Random(seed)
        self._rate = rate
        self._ports, self._go = root / "ports", root / "go"
        self._clients: list[subprocess.Popen] = []
        extra, options = _secured(root) if secured else ("", ())
        self.cluster = NatsCluster(root / "nats", servers, extra, program=nats_server)
        self.deployment = Deployment(root, self.cluster.url, servers, *options)
        for _ in range(consumers):
            self.deployment.add_consumer(program=program)
        for _ in range(gateways):
            self.deployment.add_gateway()
        self._ports.write_text(" ".join(map(str, self.deployment.ports)))
        self._records = [Trial._write_record(root / f"record{n}.esr.zst", frames) for n in range(producers)]

    def run(self, *plan: str) -> Outcome:
        """Kill what `plan` names, "leader", "gateway" or "consumer", in order; let all clients end, and look."""
        began = time.monotonic()
        self._clients = [self._client(record) for record in self._records]
        for victim in plan:
            time.sleep(self._rng.uniform(1.0, 2.0))
            getattr(self, f"_kill_{victim}")()
            self.outcome.kills[victim] = self.outcome.kills.get(victim, 0) + 1
        self._go.touch()
        for client in self._clients:
            assert client.wait(timeout=240) == 0
        self.outcome.seconds = time.monotonic() - began
        self._look()
        return self.outcome

    def stop(self) -> None:
        for client in self._clients:
            if client.poll() is None:
                client.kill()
                client.wait()
        self.deployment.stop()
        self.cluster.stop()

    # --- what is killed -----------------------------------------------------------------------------------------------

    def _kill_leader(self) -> None:
        wait_until(lambda: self.cluster.whole(STREAM), "all replicas of the stream to be up to date")
        leader = self.cluster.leader(STREAM)
        self.cluster.kill(leader)
        time.sleep(self._rng.uniform(0.5, 2.0))
        self.cluster.start(leader)

    def _kill_gateway(self) -> None:
        self._again(self._rng.choice(self.deployment.gateways))

    def _kill_consumer(self) -> None:
        self._again(self._rng.choice(self.deployment.consumers))

    def _again(self, program) -> None:
        """Kill a process, and start it again after it was missed."""
        program.kill()
        time.sleep(self._rng.uniform(0.2, 8.0))
        program.start()

    # --- what is left -------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        for consumer in self.deployment.consumers:
            assert consumer.terminate() == 0, consumer.log()
        for record in self._records:
            with RecordReader(record) as reader:
                raw = {ref.last_seq: reader.read_raw(ref) for ref in reader.frames()}
                found = self.deployment.stored(reader.header.run_id, reader.header.producer_id)
            assert not set(found) - set(raw.values()), "a frame that was never sent"
            missing = [last for last, bytes_ in raw.items() if bytes_ not in set(found)]
            acked = int(record.with_suffix(".state").read_text())
            self.outcome.lost += sum(last <= acked for last in missing)
            self.outcome.unfinished += len(missing)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: self.cluster.messages(STREAM) == 0, "the stream to be empty", seconds=20)
        self.outcome.left = self.cluster.messages(STREAM)

    def _client(self, record: Path) -> subprocess.Popen:
        arguments = [record, record.with_suffix(".state"), self._ports, self._rate, self._go]
        return subprocess.Popen([sys.executable, chaos_client.__file__, *map(str, arguments)], env=ENVIRONMENT)
