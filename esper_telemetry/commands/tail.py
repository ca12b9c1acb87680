"""`esper-telemetry tail`: the last events, and with -f those that are being written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from esper_telemetry.commands.cat import format_options, line_writer
from esper_telemetry.commands.output import FINE, INCOMPLETE, warn
from esper_telemetry.commands.reading import (
    Choice,
    files_argument,
    filter_options,
    find_files,
    tell_unknown,
    time_format_option,
)
from esper_telemetry.decode import Tail

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esper_telemetry.decode import Event


@click.command
@files_argument
@filter_options
@format_options
@time_format_option
@click.option("-n", "--lines", "count", type=click.IntRange(0), default=10, show_default=True, help="Events to show.")
@click.option("-f", "--follow", is_flag=True, help="Wait for what is written next, until the run ends.")
def command(files: tuple[str, ...], choice: Choice, *, form: str, time_format: str, count: int, follow: bool) -> int:
    """Print the last events. With -f go on with those that are being written, over segments and new ranks.

    It ends when every stream has ended: closed, or its writer gone.
    """
    tail = Tail(files if follow else find_files(files), choice.wanted, expand=not choice.blocks)
    line = line_writer(form, time_format, ranks=tail.streams > 1)
    told = 0

    def show(events: Iterable[Event]) -> None:
        nonlocal told
        sys.stdout.write("".join(f"{line(event)}\n" for event in events))
        sys.stdout.flush()
        for warning in tail.warnings[told:]:
            warn(warning)
        told = len(tail.warnings)

    show(tail.last(count))
    for events in tail.follow() if follow else ():
        show(events)
    show([])
    tell_unknown(tail.unknown)
    return INCOMPLETE if tail.warnings or tail.unknown else FINE
