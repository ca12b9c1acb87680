"""Where a stream goes and how it is allowed to go there. A token travels over TLS, unix sockets or loopback only."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from esper_telemetry.errors import ConfigError

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")
_LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Destination:
    """A collector's address and what proves both ends.

    Attributes:
        address: "host:port", "[ipv6]:port" or "unix:path".
        token_file: file with the bearer token; read again for every stream.
        tls: encrypt; the system's roots vouch for the collector unless `tls_ca` is given.
        tls_ca: PEM file with the roots that vouch for the collector.
        tls_cert: PEM file with the client's own certificate, for collectors that want one.
        tls_key: PEM file with its key.
    """

    address: str
    token_file: str | None = None
    tls: bool = False
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without a connection.

        Raises:
            ConfigError: the address is none, half of a key pair is given, or the token would travel in the clear.
        """
        check_address(self.address)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("a client certificate needs both --tls-cert and --tls-key; one of them is missing")
        if self.token_file is not None and not self.encrypted and not self.near:
            raise ConfigError(
                f"{self.address}: the token of {self.token_file} would travel in the clear; use --tls or --tls-ca"
            )

    @property
    def encrypted(self) -> bool:
        """Whether TLS is used."""
        return self.tls or self.tls_ca is not None or self.tls_cert is not None

    @property
    def near(self) -> bool:
        """Whether nothing leaves this machine."""
        if self.address.startswith("unix:"):
            return True
        host = self.address.rpartition(":")[0].strip("[]")
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def check_files(self) -> None:
        """Read every file once, so that a mistake is said at the start; later one may be missing while it is replaced.

        Raises:
            ConfigError: one cannot be read or is empty.
        """
        self.token()
        for path in (self.tls_ca, self.tls_cert, self.tls_key):
            if path is not None:
                read_file(path, "the PEM file")

    def token(self) -> str | None:
        """Return the token, or None without a token file.

        Raises:
            ConfigError: the file cannot be read or is empty.
        """
        if self.token_file is None:
            return None
        return read_file(self.token_file, "the token file").decode("ascii", "replace").strip()


def check_address(address: str) -> None:
    """Check that `address` can be one.

    Raises:
        ConfigError: it is not "host:port", "[ipv6]:port" or "unix:path".
    """
    if address.startswith("unix:") and len(address) > len("unix:"):
        return
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) <= _LAST_PORT:
        raise ConfigError(f"collector address {address!r} is not host:port, such as localhost:4320, or unix:PATH")


def read_file(path: str, what: str) -> bytes:
    """Return what a file holds.

    Raises:
        ConfigError: it cannot be read or is empty.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror}") from error
    if not data.strip():
        raise ConfigError(f"{what} {path} is empty")
    return data
