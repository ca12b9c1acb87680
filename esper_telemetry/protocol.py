"""What both ends of collector.proto agree on beside its messages. Pure."""

from __future__ import annotations

import ipaddress

from esper_telemetry.errors import ConfigError

PROTOCOL = 1

# Trailing metadata that carries a serialized Refusal.
REFUSAL_KEY = "esper-telemetry-refusal-bin"


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
