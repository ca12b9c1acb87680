"""One deployment on a NATS cluster: its names, its servers, how its stream is made, how a consumer runs. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import ConfigError
from esper_telemetry.jetstream.credentials import LogAccess

if TYPE_CHECKING:
    from pathlib import Path


# Frames of one stream on their way through a log; their bytes are bounded as ever. A window makes a round in 100 ms:
# gather, publish, agree, deliver, sync, agree on the watermark. 64 frames, as a collector with a folder grants, would
# be 640 frames a second at most.
WINDOW_FRAMES = 512


class Names(NamedTuple):
    """The names of one deployment on a NATS cluster.

    Attributes:
        base: what all of them start with; letters, digits, - and _.
    """

    base: str

    @property
    def stream(self) -> str:
        """The stream."""
        return f"{self.base}-log"

    @property
    def bucket(self) -> str:
        """The key-value bucket of watermarks, schemas and leases."""
        return f"{self.base}-state"

    @property
    def consumers(self) -> str:
        """Subject of the consumers' signs of life."""
        return f"{self.base}.consumers"

    def partition(self, number: int | str) -> str:
        """Subject of a partition's entries."""
        return f"{self.base}.log.{number}"

    def durable(self, number: int | str) -> str:
        """Subject on which the watermarks of a partition are published once they are in the bucket."""
        return f"{self.base}.durable.{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Where the log is, and how it is made where it is not there yet.

    Attributes:
        servers: "nats://HOST:PORT", several with commas between them.
        names: the names of this deployment.
        partitions: of a stream that has to be made.
        replicas: of a stream that has to be made; 1 for a single server.
        max_bytes: size of a stream that has to be made.
        access: how the servers are reached: TLS, credentials.
    """

    servers: str
    names: Names = field(default_factory=lambda: Names("esper"))
    partitions: int = 8
    replicas: int = 3
    max_bytes: int = 16 << 30
    access: LogAccess = field(default_factory=LogAccess)

    @classmethod
    def of(
        cls, servers: str, name: str, partitions: int, replicas: int, gib: float, *, access: LogAccess | None = None
    ) -> LogSettings:
        """Return the settings that options of a command line give.

        Raises:
            ConfigError: they cannot be.
        """
        if not name or not all(char.isascii() and (char.isalnum() or char in "-_") for char in name):
            raise ConfigError(f"--log-name {name!r}: only letters, digits, - and _ may be in it")
        for option, value in (("--log-partitions", partitions), ("--log-replicas", replicas)):
            if value <= 0:
                raise ConfigError(f"{option} {value} must be above 0")
        if not 1 <= gib * (1 << 30) < _MOST_BYTES:
            raise ConfigError(f"--log-gib {gib:g} is no size of a log, e.g. 16")
        access = access or LogAccess()
        if access.credentials is not None and "@" in servers:
            raise ConfigError("--log-credentials and a user in the URL of --engine: give one of them")
        return cls(
            servers=servers,
            names=Names(name),
            partitions=partitions,
            replicas=replicas,
            max_bytes=int(gib * (1 << 30)),
            access=access,
        )

    @property
    def encrypted(self) -> bool:
        """Whether nothing may be sent in the clear."""
        return "tls://" in self.servers or self.access.wants_tls

    @property
    def shown(self) -> str:
        """The servers without user and password."""
        return re.sub(r"[^/,@]*@", "", self.servers)

    @property
    def urls(self) -> list[str]:
        """The servers.

        Raises:
            ConfigError: it names none.
        """
        if not self.servers.startswith(("nats://", "tls://")):
            raise ConfigError(f"{self.shown!r} is no engine, e.g. nats://127.0.0.1:4222 or nats://a:4222,b:4222")
        scheme = self.servers.partition("://")[0]
        return [each if "://" in each else f"{scheme}://{each}" for each in self.servers.split(",") if each]


# Sizes of a log are signed.
_MOST_BYTES = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings:
    """How a consumer runs.

    Attributes:
        log: where the log is.
        directory: its own folder of runs; made if its parent exists.
        metrics: "HOST:PORT" of /metrics and /healthz; empty for none.
        min_free: free part of the disk below which nothing is taken, 0 to 1.
        compact: rewrite sealed segments into full frames where that makes them a third smaller.
    """

    log: LogSettings
    directory: Path
    metrics: str = ""
    min_free: float = 0.05
    compact: bool = False
