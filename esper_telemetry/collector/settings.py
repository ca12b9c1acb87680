"""How a collector runs, and which ways are refused before anything listens. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.collector.frames import Validation
from esper_telemetry.collector.limits import Limits
from esper_telemetry.collector.logentry import Names
from esper_telemetry.errors import ConfigError
from esper_telemetry.wire import is_loopback

if TYPE_CHECKING:
    from pathlib import Path

# Sizes of a log are signed.
_MOST_BYTES = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a collector runs.

    Attributes:
        listen: "HOST:PORT" or "unix:PATH"; port 0 takes a free one.
        directory: folder of runs; made if its parent exists. Either this or `log`.
        log: the message log that it is a door of.
        metrics: "HOST:PORT" of /metrics and /healthz; empty for none.
        health: "HOST:PORT" of grpc.health.v1 alone, in the clear, for probes that speak no TLS; empty for none.
        certificate: PEM file of the server's certificate chain; with `key` it means TLS.
        key: PEM file of its private key.
        client_ca: PEM file; clients need a certificate signed by it (mTLS).
        tokens: the token file; None lets everybody in.
        insecure: listen beyond loopback without TLS all the same.
        validation: how much of a frame is looked at.
        min_free: free part of the disk below which nothing is taken, 0 to 1.
        retain_s: age at which a segment is deleted, seconds; 0 keeps all. The last one of a producer always stays.
        limits: what the collector takes.
    """

    listen: str
    directory: Path | None = None
    log: LogSettings | None = None
    metrics: str = ""
    health: str = ""
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    tokens: Path | None = None
    insecure: bool = False
    validation: Validation = Validation.SAMPLE
    min_free: float = 0.05
    retain_s: float = 0.0
    limits: Limits = field(default_factory=Limits)

    @property
    def secure(self) -> bool:
        """Whether calls are encrypted."""
        return self.certificate is not None

    def check(self) -> None:
        """Check what can be checked without listening.

        Raises:
            ConfigError: the settings are unsafe or do not fit together.
        """
        if (self.certificate is None) != (self.key is None):
            raise ConfigError(
                "a certificate needs its key and a key its certificate: give both --tls-cert and --tls-key"
            )
        if self.client_ca is not None and not self.secure:
            raise ConfigError("--tls-client-ca needs TLS: give --tls-cert and --tls-key")
        if (self.directory is None) == (self.log is None):
            raise ConfigError("say where records go: either --dir, or --engine nats://HOST:PORT")
        if self.log is not None and self.retain_s:
            raise ConfigError("--retain-days goes with --dir: a door keeps no files")
        if not 0 <= self.min_free <= 1:
            raise ConfigError(f"--min-free {self.min_free * 100:g} is no percentage")
        if not 0 <= self.retain_s < math.inf:
            raise ConfigError(f"--retain-days {self.retain_s / 86_400:g} is no number of days; 0 keeps everything")
        if self.limits.streams < 1:
            raise ConfigError(f"--max-streams {self.limits.streams} lets nobody in; give 1 or more")
        if not (self.secure or self.insecure or is_loopback(self.listen)):
            raise ConfigError(
                f"refusing to listen on {self.listen} without TLS: everybody on the network could read and write;"
                " give --tls-cert and --tls-key, listen on 127.0.0.1, or say --insecure"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Where the log is, and how it is made where it is not there yet.

    Attributes:
        servers: "nats://HOST:PORT", several with commas between them.
        names: the names of this deployment.
        partitions: of a stream that has to be made.
        replicas: of a stream that has to be made; 1 for a single server.
        max_bytes: size of a stream that has to be made.
    """

    servers: str
    names: Names = field(default_factory=lambda: Names("esper"))
    partitions: int = 8
    replicas: int = 3
    max_bytes: int = 16 << 30

    @classmethod
    def of(cls, servers: str, name: str, partitions: int, replicas: int, gib: float) -> LogSettings:
        """Return what the options of a command line say.

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
        return cls(
            servers=servers, names=Names(name), partitions=partitions, replicas=replicas, max_bytes=int(gib * (1 << 30))
        )

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderSettings:
    """How a recorder runs.

    Attributes:
        log: where the log is.
        directory: its own folder of runs; made if its parent exists.
        metrics: "HOST:PORT" of /metrics and /healthz; empty for none.
        min_free: free part of the disk below which nothing is taken, 0 to 1.
    """

    log: LogSettings
    directory: Path
    metrics: str = ""
    min_free: float = 0.05
