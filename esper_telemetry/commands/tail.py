"""`esper-telemetry tail`: the last events of a record or of a run at a collector, and with -f those that follow."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.cat import format_options, line_writer
from esper_telemetry.commands.endpoint_options import endpoint_options
from esper_telemetry.commands.output import FINE, INCOMPLETE, warn
from esper_telemetry.commands.reading import (
    Choice,
    files_argument,
    filter_options,
    find_files,
    tell_unknown,
    time_format_option,
)
from esper_telemetry.commands.times import AfterStart
from esper_telemetry.decode import StreamKeys, Tail, survey
from esper_telemetry.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esper_telemetry.decode import Event, Filter, Survey
    from esper_telemetry.decode.live import LiveTail

_COLLECTOR = re.compile(r"(?P<address>[^/]+:\d{1,5}|unix:[^:]+)(?:/(?P<run>[^/]+))?")
_ALL_KEYS = StreamKeys(run=True, stream=True, rank=True, attempt=True)
_EPILOG = """HOST:PORT instead of FILE reads the newest run of a collector, HOST:PORT/RUN a certain one: the frames that
are durable there. Tokens and certificates are given as for push."""


@click.command(epilog=_EPILOG)
@files_argument
@filter_options
@format_options
@time_format_option
@click.option("-n", "--lines", "count", type=click.IntRange(0), default=10, show_default=True, help="Events to show.")
@click.option("-f", "--follow", is_flag=True, help="Wait for what is written next, until the run ends.")
@endpoint_options
def command(
    files: tuple[str, ...],
    choice: Choice,
    *,
    form: str,
    time_format: str,
    count: int,
    follow: bool,
    **security: Any,
) -> int:
    """Print the last events. With -f go on with those that are being written, over segments and new ranks.

    It ends when every stream has ended: closed, or its writer gone.
    """
    tail: Tail | LiveTail | None = live_tail(files, choice, security)
    if tail is None:
        paths = files if follow else find_files(files)
        tail = Tail(paths, _wanted(choice, survey(paths), follow=follow), expand=not choice.blocks)
    # A stream that appears later must not make the lines before it ambiguous to a program that reads them.
    keys = _ALL_KEYS if form == "json" and follow and not _one_file(files) else tail.keys
    line = line_writer(form, time_format, keys, tail.types)
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


def _one_file(files: tuple[str, ...]) -> bool:
    return len(files) == 1 and Path(files[0]).is_file()


def _wanted(choice: Choice, found: Survey, *, follow: bool) -> Filter:
    """Return the choice for what is there now. A record that is being written may declare a type later.

    Raises:
        RecordError: a wanted type is not declared, and nothing more is waited for.
    """
    try:
        return choice.of(found)
    except RecordError as error:
        if not follow:
            raise
        warn(f"{error}; it is waited for, as a record may declare further types while it is written")
    return choice.within(found)


def live_tail(files: tuple[str, ...], choice: Choice, security: dict[str, Any]) -> LiveTail | None:
    """Return the tail of a run at a collector, if FILE names one and no such file exists.

    Raises:
        ConfigError: a token would travel in the clear, or a file cannot be read.
        RecordError: the collector does not answer, refuses, or has no such run.
    """
    match = _COLLECTOR.fullmatch(files[0])
    if match is None or len(files) > 1 or Path(files[0]).exists():
        return None
    from esper_telemetry.decode.live import LiveTail
    from esper_telemetry.uplink.endpoint import Endpoint

    if isinstance(choice.since, AfterStart) or isinstance(choice.until, AfterStart) or choice.last is not None:
        raise click.UsageError("times at a collector are absolute: where its run began and ends is not known before")
    endpoint = Endpoint(match["address"], **security)
    endpoint.check_files()
    return LiveTail(endpoint, match["run"] or "", choice.between(0, 0), expand=not choice.blocks)
