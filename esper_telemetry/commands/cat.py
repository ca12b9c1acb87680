"""`esper-telemetry cat`: print the events, for people or as JSON lines."""

from __future__ import annotations

import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.eventtext import EventText
from esper_telemetry.commands.output import colored
from esper_telemetry.commands.reading import (
    Choice,
    files_argument,
    filter_options,
    latest_option,
    open_records,
    tell_losses,
    time_format_option,
)
from esper_telemetry.commands.times import TimeFormat
from esper_telemetry.decode import StreamKeys, declared_types, json_line, stream_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from esper_telemetry.decode import DeclaredTypes, Event

_EPILOG = """Text lines show time, number, type, [context] and fields, with units where they are not plain
numbers; what was not measured is absent. JSON lines hold type, seq, time and data. Where there are several runs or
streams, text and JSON carry what tells them apart: run, stream, rank, attempt."""


def format_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --format and --json; they arrive as one argument, `form`."""

    @wraps(function)  # carries over the options that stand below this decorator
    def collected(*, form: str, as_json: bool, **arguments: Any) -> Any:
        return function(form="json" if as_json else form, **arguments)

    formats = click.Choice(["text", "json"])
    short = click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
    return click.option("--format", "form", type=formats, default="text", show_default=True)(short(collected))


@click.command(epilog=_EPILOG)
@files_argument
@filter_options
@latest_option
@format_options
@time_format_option
def command(files: tuple[str, ...], choice: Choice, *, latest: bool, form: str, time_format: str) -> int:
    """Print the events: each stream in the order of its numbers, streams merged by time."""
    records = open_records(files, choice, latest=latest)
    line = line_writer(form, time_format, stream_keys(records.segments), declared_types(records.found))
    write = sys.stdout.write
    given = 0
    for given, event in enumerate(records, 1):  # noqa: B007 - read behind the loop
        write(line(event) + "\n")
    sys.stdout.flush()
    return tell_losses(records, given=given)


def line_writer(
    form: str, time_format: str, keys: StreamKeys, types: DeclaredTypes | None = None
) -> Callable[[Event], str]:
    """Return what turns an event into a line.

    Args:
        form: "text" or "json".
        time_format: one of TIME_FORMATS.
        keys: what tells the streams apart that are read.
        types: the types that they declare; None where that is not known.
    """
    times = TimeFormat(time_format)
    if form == "text":
        return EventText(times, color=colored(), keys=keys, types=types).line
    if time_format == "utc":
        return lambda event: json_line(event, keys=keys, types=types)
    return lambda event: json_line(event, times.json(event.time_unix_nano), keys=keys, types=types)
