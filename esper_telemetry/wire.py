"""What both ends of a connection to a collector agree on: protocol, addresses, TLS files, and how a rate is kept.

Everything may import this module. It imports neither grpc nor another part of the package but the errors, so a trainer
that starts an agent pays nothing for it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, fields

from esper_telemetry.errors import ConfigError

PROTOCOL = 1
"""The one version of the stream protocol; Hello and Welcome carry it."""
REFUSAL_KEY = "esper-telemetry-refusal-bin"
"""Key of the gRPC trailer that carries a serialized Refusal."""

_UNIX = "unix:"
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")
_LAST_PORT = 65535


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of "host:port" or "[ipv6]:port"; port 0 lets a server choose one.

    Raises:
        ConfigError: `address` is neither.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > _LAST_PORT:
        raise ConfigError(f"{address!r} is not host:port, such as localhost:7575 or [::1]:7575")
    return match["host"].strip("[]"), int(match["port"])


def check_address(address: str) -> None:
    """Check that a client can reach something at `address`: "host:port", "[ipv6]:port" or "unix:path".

    Raises:
        ConfigError: it is none of these, or its port is 0.
    """
    match = _ADDRESS.fullmatch(address)
    reachable = match is not None and 0 < int(match["port"]) <= _LAST_PORT
    if not reachable and not (address.startswith(_UNIX) and len(address) > len(_UNIX)):
        raise ConfigError(f"collector address {address!r} is not host:port, such as localhost:7575, or unix:PATH")


def is_loopback(address: str) -> bool:
    """Return whether only this machine can reach `address`: a unix socket, localhost or a loopback address.

    Raises:
        ConfigError: `address` is no address.
    """
    if address.startswith(_UNIX):
        return True
    host, _ = split_address(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The files that prove client and collector to each other. Nothing is read here.

    Attributes:
        token_file: file with the bearer token; it is read again for every stream, and the token is sent over TLS, unix
            sockets or loopback only.
        tls: encrypt; the system's root certificates verify the collector unless `tls_ca` is given.
        tls_ca: PEM file with the root certificates that verify the collector; implies `tls`.
        tls_cert: PEM file with the client's certificate, for collectors that require one; implies `tls`.
        tls_key: PEM file with the key of that certificate.
    """

    token_file: str | None = None
    tls: bool = False
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def __post_init__(self) -> None:
        """Check the pair of certificate and key.

        Raises:
            ConfigError: only one of the two is given.
        """
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("a client certificate needs both tls_cert and tls_key; one of them is missing")

    @property
    def encrypted(self) -> bool:
        """Whether TLS is used."""
        return self.tls or self.tls_ca is not None or self.tls_cert is not None


CREDENTIALS = tuple(field.name for field in fields(Credentials))
"""Names of the fields of Credentials, in order: a command line has an option for each."""


class TokenBucket:
    """A rate with a burst of one second. What is taken beyond the burst is a debt that the caller waits for.

    Args:
        rate: units a second; 0 means no limit.

    Attributes:
        rate: as given; it may be changed at any time.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._level = rate
        self._at: float | None = None

    def take(self, amount: float, now: float) -> float:
        """Take `amount` at `now` (seconds of any steady clock); return the seconds to wait before the next."""
        debt = self.debt(now)
        if not self.rate:
            return 0.0
        self._level -= amount
        return max(debt, -self._level / self.rate)

    def debt(self, now: float) -> float:
        """Return the seconds until what was taken is covered."""
        if not self.rate:
            return 0.0
        if self._at is not None:
            self._level = min(self.rate, self._level + (now - self._at) * self.rate)
        self._at = now
        return max(0.0, -self._level / self.rate)
