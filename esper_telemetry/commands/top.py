"""`esper-telemetry top`: runs in a terminal, while they go on."""

from __future__ import annotations

import sys
from typing import Any

import click

from esper_telemetry.commands.endpoint_options import endpoint_options
from esper_telemetry.commands.output import FINE
from esper_telemetry.commands.ui import find_listing
from esper_telemetry.errors import ConfigError, MissingExtraError, NotARecordError

_MOST_RUNS = 8
_EPILOG = """PLACE is a folder with runs, one run folder or record, or a collector: HOST:PORT, or HOST:PORT/RUN for one
run. Keys: 1 to 6 tabs, n and p another run, / filter events, space pause, arrows and j k scroll, q ends."""


@click.command(epilog=_EPILOG)
@click.argument("place", metavar="PLACE", default="runs", type=click.Path())
@endpoint_options
def command(place: str, **security: Any) -> int:
    """Watch runs in a terminal: vitals, slots, actions, masks, events. The newest eight runs of PLACE are open."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("top needs a terminal; without one use tail -f, or check --rules")
    try:
        from esper_telemetry.terminal.monitor import Monitor, NamedRun
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "textual":
            raise
        raise MissingExtraError("the package 'textual', which top needs,", "ui") from None
    from esper_telemetry.ui.runfold import RunFold
    from esper_telemetry.views.panels import PANELS

    listing = find_listing(place, security)
    found = [facts for facts in listing.runs() if not facts.problem][:_MOST_RUNS]
    if not found:
        raise NotARecordError("there is no run here yet; start one, or name another place", path=listing.place)
    folds = [RunFold(listing.origin(facts.key), PANELS, publish=False) for facts in found]
    try:
        for fold in folds:
            fold.start()
        Monitor([NamedRun(facts.name or facts.run_id, fold) for facts, fold in zip(found, folds, strict=True)]).run()
    finally:
        for fold in folds:
            fold.stop()
    return FINE
