"""What a service manager is told, by systemd's protocol (sd_notify(3)): ready, stopping, alive.

It is a datagram to the socket that NOTIFY_SOCKET names; without that variable nothing is sent. A manager that does not
listen costs nothing and changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket

_VARIABLE, _WATCHDOG = "NOTIFY_SOCKET", "WATCHDOG_USEC"


def tell_manager(*lines: str) -> bool:
    """Send lines such as "READY=1" and "STATUS=..." to the service manager; return whether one was told."""
    address = os.environ.get(_VARIABLE, "")
    if not address:
        return False
    if address.startswith("@"):
        address = f"\0{address[1:]}"  # an abstract socket
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)  # noqa: FBT003 - the standard library's
        manager.sendto("\n".join(lines).encode(), address)
        return True
    return False


def watchdog_interval() -> float:
    """Return how often the manager wants to hear "WATCHDOG=1", seconds; 0 where it does not."""
    text = os.environ.get(_WATCHDOG, "")
    return int(text) / 2e6 if text.isdecimal() else 0.0  # half of its patience, as it advises
