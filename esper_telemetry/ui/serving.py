"""Runs the page's server until it is stopped. Blocking; it belongs to the main thread, whose signals end it."""

from __future__ import annotations

import contextlib
import signal
import socket
from typing import TYPE_CHECKING

import uvicorn

from esper_telemetry.errors import ConfigError
from esper_telemetry.ui.access import only_here
from esper_telemetry.ui.app import Page
from esper_telemetry.ui.openruns import OpenRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from esper_telemetry.ui.listing import Listing
    from esper_telemetry.views import Panel

_SHUTDOWN_S = 2


def serve(
    listing: Listing,
    panels: Sequence[Panel],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str = "",
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the page until SIGINT or SIGTERM.

    Args:
        listing: the runs to show.
        panels: what is shown of each.
        host: where to listen.
        port: where to listen; 0 takes a free one.
        token: what every request must carry; needed beyond loopback.
        ready: called with the address of the page once it listens.

    Raises:
        ConfigError: it cannot listen there, or would without a token beyond this machine.
    """
    if not token and not only_here(host):
        raise ConfigError(f"{host} is reached by other machines; give a token (--token-file), or listen on 127.0.0.1")
    listener = _listen(host, port)
    runs = OpenRuns(listing, panels)
    server: uvicorn.Server | None = None
    page = Page(runs, lambda: server is not None and server.should_exit)
    config = uvicorn.Config(
        page.app(host=host, token=token),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    server = uvicorn.Server(config)
    # uvicorn raises a signal again once it has shut down: an end that was asked for is no failure.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        ready(_address(host, listener.getsockname()[1], token))
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)
        runs.close()
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --listen, port 0 for a free one"
        ) from None
    listener.listen(128)
    return listener


def _address(host: str, port: int, token: str) -> str:
    shown = f"[{host.strip('[]')}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
