"""`esper-telemetry ui`: the runs of a folder or a collector as a live page in a browser."""

from __future__ import annotations

import re
import secrets
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.endpoint_options import endpoint_options
from esper_telemetry.commands.output import FINE, note
from esper_telemetry.errors import ConfigError, MissingExtraError
from esper_telemetry.wire import is_loopback, split_address

if TYPE_CHECKING:
    from esper_telemetry.ui.listing import Listing

_COLLECTOR = re.compile(r"(?P<address>[^/]+:\d{1,5}|unix:[^:]+)(?:/(?P<run>[^/]+))?")
_EPILOG = """PLACE is a folder with runs, one run folder or record, or a collector: HOST:PORT, or HOST:PORT/RUN for one
run. Tokens and certificates of a collector are given as for push. The page never writes, and a trainer never waits for
it. Beyond this machine every request needs a token; put TLS in front (a reverse proxy) where others can listen."""


@click.command(epilog=_EPILOG)
@click.argument("place", metavar="PLACE", default="runs", type=click.Path())
@click.option("--listen", default="127.0.0.1:7576", show_default=True, metavar="HOST:PORT", help="Port 0: a free one.")
@click.option(
    "--page-token",
    type=click.Path(exists=True, dir_okay=False),
    help="File with the token that a browser must bring; beyond this machine one is made if none is given.",
)
@click.option("--open/--no-open", "open_browser", default=None, help="Open a browser; default: on a terminal.")
@endpoint_options
def command(place: str, *, listen: str, page_token: str | None, open_browser: bool | None, **security: Any) -> int:
    """Show runs in a browser, live and stored: panels, events, comparisons, replay."""
    host, port = split_address(listen)
    listing = find_listing(place, security)
    try:
        from esper_telemetry.ui.serving import serve
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    from esper_telemetry.views.panels import PANELS

    token = _token(page_token)
    if not token and not is_loopback(listen):
        token = secrets.token_urlsafe(24)
    wants_browser = sys.stderr.isatty() if open_browser is None else open_browser

    def ready(address: str) -> None:
        note(f"{listing.place} at {address} (Ctrl-C ends it)")
        if wants_browser:
            webbrowser.open(address)

    serve(listing, PANELS, host=host, port=port, token=token, ready=ready)
    return FINE


def find_listing(place: str, security: dict[str, Any]) -> Listing:
    """Return the runs that PLACE names.

    Raises:
        ConfigError: a token would travel in the clear, or a file cannot be read.
        NotARecordError: there is no such path.
    """
    from esper_telemetry.ui.listing import CollectorListing, FolderListing

    match = _COLLECTOR.fullmatch(place)
    if match is None or Path(place).exists():
        if any(security.values()):
            raise click.UsageError(f"{place} is a folder: tokens and certificates go with HOST:PORT")
        return FolderListing(Path(place))
    from esper_telemetry.uplink.client import list_runs
    from esper_telemetry.uplink.endpoint import Endpoint

    endpoint = Endpoint(match["address"], **security)
    endpoint.check_files()
    only = match["run"] or ""
    return CollectorListing(match["address"], endpoint, lambda: list_runs(endpoint, only), only=only)


def _token(path: str | None) -> str:
    if path is None:
        return ""
    text = Path(path).read_text(encoding="utf-8").strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError(f"the token file {path} holds no token: one line of printable ASCII without spaces is needed")
    return text


def _missing(error: ModuleNotFoundError) -> Exception:
    if error.name is None or error.name.partition(".")[0] not in ("starlette", "uvicorn"):
        return error
    return MissingExtraError(f"the package {error.name!r}, which the page needs,", "ui")
