"""How a collector runs, and which ways are refused before anything listens. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.collector.frames import Validation
from esper_telemetry.collector.limits import Limits
from esper_telemetry.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a collector runs.

    Attributes:
        listen: "HOST:PORT" or "unix:PATH"; port 0 takes a free one.
        directory: folder of runs; made if its parent exists.
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
    directory: Path
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
        if not (self.secure or self.insecure or is_local(self.listen)):
            raise ConfigError(
                f"refusing to listen on {self.listen} without TLS: everybody on the network could read and write;"
                " give --tls-cert and --tls-key, listen on 127.0.0.1, or say --insecure"
            )


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of "HOST:PORT" or "[HOST]:PORT".

    Raises:
        ConfigError: it is neither.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - last port
        raise ConfigError(f"{address!r} is no HOST:PORT, e.g. 127.0.0.1:7575")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_local(address: str) -> bool:
    """Tell whether only this machine can reach `address`."""
    if address.startswith("unix:"):
        return True
    host, _ = split_address(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
