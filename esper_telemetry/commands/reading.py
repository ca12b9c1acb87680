"""What the verbs that read have in common: FILE, the choice of events, and how losses are told."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from esper_telemetry.commands.output import FINE, INCOMPLETE, note, plural, warn
from esper_telemetry.commands.times import TIME_FORMATS, AfterStart, LastPart, Moment, Part, TimeFormat
from esper_telemetry.decode import Filter, Records, declared_types, record_files, survey
from esper_telemetry.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from esper_telemetry.decode import RecordFiles, Survey

    Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

Done = TypeVar("Done")
STDIN = "-"

record_path = click.Path(
    allow_dash=True, readable=False
)  # patterns are no paths, so nothing is checked: it is for completion
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
    """The events that the options choose.

    Attributes:
        plain: what is known without the record: all but times, which may count from its first or last event.
        since: the time to begin at, as given.
        until: the time to end before, as given.
        last: the last part of the record, as given.
        blocks: show blocks of steps as they are.
    """

    plain: Filter
    since: int | AfterStart | None
    until: int | AfterStart | None
    last: LastPart | None
    blocks: bool

    @property
    def needs_record(self) -> bool:
        """Whether the choice depends on what the record holds."""
        relative = isinstance(self.since, AfterStart) or isinstance(self.until, AfterStart) or self.last is not None
        return relative or self.plain.types is not None

    def of(self, found: Survey) -> Filter:
        """Return the choice for a record that has been surveyed.

        Raises:
            RecordError: it does not declare a wanted type.
        """
        check_types(self.plain.types, found)
        return self.within(found)

    def within(self, found: Survey) -> Filter:
        """Return the choice for a record that has been surveyed, whatever types it declares."""
        places = [place for place in found.places if place.first_time]
        start = min((place.first_time for place in places), default=0)
        end = max((place.last_time for place in places), default=0)
        return self.between(start, end)

    def between(self, start: int, end: int) -> Filter:
        """Return the choice for records from `start` to `end`, nanoseconds since 1970 UTC."""
        since, until = _absolute(self.since, start), _absolute(self.until, start)
        if self.last is not None:
            since = max(since or 0, self.last.since(start, end))
        return dataclasses.replace(self.plain, since_ns=since, until_ns=until)


def _absolute(moment: int | AfterStart | None, start: int) -> int | None:
    return start + moment.length_ns if isinstance(moment, AfterStart) else moment


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose events; they arrive as one argument, `choice`."""

    @wraps(function)  # carries over the options that stand below this decorator
    def collected(**arguments: Any) -> Any:
        first, last = arguments.pop("numbers") or (None, None)
        plain = Filter(
            types=arguments.pop("types") or None,
            envs=_some(arguments.pop("envs")),
            ranks=_some(arguments.pop("ranks")),
            first_seq=first,
            last_seq=last,
            batches=arguments.pop("batches"),
            steps=arguments.pop("steps"),
        )
        since, until, last, blocks = (arguments.pop(name) for name in ("since", "until", "last", "blocks"))
        return function(choice=Choice(plain, since, until, last, blocks=blocks), **arguments)

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
    click.option(
        "--since",
        metavar="TIME",
        type=Moment(),
        help="Only from this time on: a date or time (UTC without a zone), 5m (before now), +5m (after the start).",
    ),
    click.option("--until", metavar="TIME", type=Moment(), help="Only before this time."),
    click.option("--last", metavar="PART", type=Part(), help="Only the last part: 10% of the time, or 5m."),
    click.option(
        "--batch", "batches", metavar="A:B", type=Numbers(), help="Only these batches (batch_idx), both ends inclusive."
    ),
    click.option("--step", "steps", metavar="A:B", type=Numbers(), help="Only these steps, both ends inclusive."),
    click.option("--seq", "numbers", metavar="A:B", type=Numbers(), help="Only these numbers, both ends inclusive."),
    click.option("--blocks", is_flag=True, help="Show a block of steps as the one event it travelled as."),
)


latest_option = click.option(
    "--latest", is_flag=True, help="Leave out what a later attempt at the run did again after a resume."
)


def find_files(files: Sequence[str]) -> RecordFiles:
    """Return the files that FILE... names; standard input is copied to a file first.

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


def open_records(files: Sequence[str], choice: Choice, *, latest: bool = False, expand: bool | None = None) -> Records:
    """Open FILE... for reading; damage and what is no record are passed over and told at the end.

    Args:
        files: as they were given.
        choice: which events.
        latest: as in `decode.read`.
        expand: give blocks of steps as their rows; None as the options choose.

    Raises:
        RecordError: nothing of it can be read, or a wanted type is not declared.
    """
    found = survey(find_files(files))
    expand = not choice.blocks if expand is None else expand
    return Records(found, choice.of(found), expand=expand, strict=False, latest=latest)


def check_types(wanted: Sequence[str] | None, *found: Survey) -> None:
    """Refuse a type that none of the surveyed records declares: it is misspelt, and nothing would ever be found.

    Raises:
        RecordError: there is one; the message suggests the declared names that are near.
    """
    if not wanted:
        return
    declared = [declared_types(one) for one in found]
    for name in wanted:
        if not any(one.declares(name) for one in declared):
            raise RecordError(declared[0].refusal(name))


def tell_losses(records: Records, *, given: int | None = None) -> int:
    """State on stderr what could not be read, and return the exit code.

    Args:
        records: what was read.
        given: how many events were chosen of it; where that is none, it is stated what there is to choose from.
    """
    if given == 0 and records.events:
        note(f"no event was chosen: {_there(records)}")
    for warning in records.warnings:
        warn(warning)
    for text in records.notes:
        note(text)
    tell_unknown(records.unknown)
    return INCOMPLETE if records.warnings or records.unknown else FINE


def _there(records: Records) -> str:
    """Return what there is to choose from: "the record holds 12 events, 1 to 12, from 22:33:28 to 22:34:00"."""
    places = [place for place in records.segments if place.first_time]
    first, last = min(place.first_time for place in places), max(place.last_time for place in places)
    times = TimeFormat("utc")
    numbers = min(place.header.previous_last_seq + 1 for place in places), max(place.last_seq for place in places)
    return (
        f"the record holds {plural(records.events, 'event')} with numbers {numbers[0]:,} to {numbers[1]:,},"
        f" from {times.text(first)} to {times.text(last)} UTC"
    )


class EachFile:
    """Does something with each of several files; one that is no record does not keep the others from it.

    Args:
        found: the files.

    Attributes:
        failed: those of which it could not be done, and what was beside them.
    """

    def __init__(self, found: RecordFiles) -> None:
        self._found = found
        self.failed = [str(one) for one in found.passed_over]

    def attempt(self, work: Callable[[], Done]) -> Done | None:
        """Return what `work` on one file returns; None where that is no record.

        Raises:
            RecordError: the file was named by itself.
        """
        try:
            return work()
        except RecordError as error:
            if self._found.alone:
                raise
            self.failed.append(str(error))
            return None

    def tell(self, code: int) -> int:
        """Say which files were passed over; return the exit code: `code` if there were none or it is a worse one."""
        for text in self.failed:
            warn(text)
        return code if code or not self.failed else INCOMPLETE


def tell_unknown(unknown: Mapping[str, int]) -> None:
    """Say on stderr which events were kept as bytes."""
    for name, count in sorted(unknown.items()):
        warn(f"{plural(count, 'event')} of type {name} cannot be decoded: the record does not declare what they hold")


def _some(values: Sequence[int]) -> frozenset[int] | None:
    return frozenset(values) if values else None
