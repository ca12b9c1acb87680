"""What the verbs that read have in common: FILE, the choice of events, and how losses are told."""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.output import FINE, INCOMPLETE, plural, warn
from esper_telemetry.commands.times import TIME_FORMATS, Moment
from esper_telemetry.decode import Filter, Records, ordered_segments, record_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

STDIN = "-"

record_path = click.Path(allow_dash=True)  # patterns are no paths, so nothing is checked: it is for completion
files_argument = click.argument("files", metavar="FILE...", nargs=-1, required=True, type=record_path)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
time_format_option = click.option(
    "--time-format",
    type=click.Choice(TIME_FORMATS),
    default="utc",
    show_default=True,
    help="How times are shown; relative is seconds since the first event.",
)


class Numbers(click.ParamType["tuple[int | None, int | None]"]):
    """A range of event numbers: 7, 7:20, 7: or :20, both ends inclusive."""

    name = "first:last"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, int | None]:
        """Read a range."""
        if isinstance(value, tuple):
            return value
        first, colon, last = value.partition(":")
        try:
            low = int(first) if first else None
            return low, (int(last) if last else None) if colon else low
        except ValueError:
            self.fail(f"{value!r} is no range of numbers; use 7, 7:20, 7: or :20", param, ctx)


@dataclass(frozen=True, slots=True)
class Choice:
    """The events that the options choose."""

    wanted: Filter
    blocks: bool


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose events; they arrive as one argument, `choice`."""

    @wraps(function)  # carries over the options that stand below this decorator
    def collected(**arguments: Any) -> Any:
        first, last = arguments.pop("numbers") or (None, None)
        wanted = Filter(
            types=arguments.pop("types") or None,
            envs=_some(arguments.pop("envs")),
            ranks=_some(arguments.pop("ranks")),
            since_ns=arguments.pop("since"),
            until_ns=arguments.pop("until"),
            first_seq=first,
            last_seq=last,
        )
        return function(choice=Choice(wanted, arguments.pop("blocks")), **arguments)

    with_options: Callable[..., Any] = collected
    for option in reversed(_FILTERS):
        with_options = option(with_options)
    return with_options


_FILTERS: tuple[Decorator, ...] = (
    click.option(
        "--type", "types", metavar="TYPE", multiple=True, help="Only this type: seed.culled, or seed.*; repeatable."
    ),
    click.option("--env", "envs", metavar="N", type=int, multiple=True, help="Only this environment; repeatable."),
    click.option("--rank", "ranks", metavar="N", type=int, multiple=True, help="Only this rank; repeatable."),
    click.option("--since", metavar="TIME", type=Moment(), help="Only from this time on (UTC unless it says else)."),
    click.option("--until", metavar="TIME", type=Moment(), help="Only before this time."),
    click.option("--seq", "numbers", metavar="A:B", type=Numbers(), help="Only these numbers, both ends inclusive."),
    click.option("--blocks", is_flag=True, help="Show a block of steps as the one event it travelled as."),
)


def find_files(files: Sequence[str]) -> list[Path]:
    """Return the record files that FILE... stands for; standard input is copied to a file first.

    Raises:
        NotARecordError: nothing is there.
    """
    if STDIN not in files:
        return record_files(files)
    folder = click.get_current_context().with_resource(tempfile.TemporaryDirectory(prefix="esper-telemetry-"))
    spool = Path(folder) / "stdin.esr.zst"
    with spool.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return record_files([spool if name == STDIN else name for name in files])


def open_records(files: Sequence[str], choice: Choice) -> Records:
    """Open FILE... for reading; damage is passed over and told at the end.

    Raises:
        RecordError: a file is no record or cannot be opened.
    """
    return Records(ordered_segments(find_files(files)), choice.wanted, expand=not choice.blocks, strict=False)


def tell_losses(records: Records) -> int:
    """Say on stderr what could not be read, and return the exit code."""
    for warning in records.warnings:
        warn(warning)
    tell_unknown(records.unknown)
    return INCOMPLETE if records.warnings or records.unknown else FINE


def tell_unknown(unknown: Mapping[str, int]) -> None:
    """Say on stderr which events were kept as bytes."""
    for name, count in sorted(unknown.items()):
        warn(f"{plural(count, 'event')} of type {name} cannot be decoded: the record does not say what they hold")


def _some(values: Sequence[int]) -> frozenset[int] | None:
    return frozenset(values) if values else None
