"""`esper-telemetry diff`: two runs side by side, or held against each other event by event."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.eventtext import EventText
from esper_telemetry.commands.output import (
    FINE,
    INCOMPLETE,
    PROBLEM,
    note,
    plural,
    print_json,
    print_table,
    print_text,
    printable,
    warn,
)
from esper_telemetry.commands.reading import (
    Choice,
    check_types,
    filter_options,
    find_files,
    json_option,
    latest_option,
    record_path,
)
from esper_telemetry.commands.times import TimeFormat
from esper_telemetry.decode import Comparison, Parting, compare, partings, survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.decode import FieldPair, FieldStatistics, Summary


@click.command
@click.argument("left", metavar="FILE", type=record_path)
@click.argument("right", metavar="FILE", type=record_path)
@filter_options
@latest_option
@json_option
@click.option("--exact", is_flag=True, help="Hold the events against each other; exit 4 where they part.")
def command(left: str, right: str, choice: Choice, *, latest: bool, as_json: bool, exact: bool) -> int:
    """Compare two runs: settings, results, events by type, and the numbers of every field.

    With --exact the events must be the same, one by one. Times, durations, rates and the event
    that states where and when the run was are left out.
    """
    sides = survey(find_files([left])), survey(find_files([right]))
    check_types(choice.plain.types, *sides)
    wanted = [choice.within(side) for side in sides]
    if exact:
        code = _print_partings(list(partings(*sides, *wanted)), as_json=as_json)
        warnings = [warning for side in sides for warning in side.warnings]
        for warning in warnings:
            warn(warning)
        return code or (INCOMPLETE if warnings else FINE)
    found = compare(*sides, *wanted, latest=latest)
    if as_json:
        print_json(_document(found))
    else:
        _print_text(found)
    for warning in found.warnings:
        warn(warning)
    for text in found.notes:
        note(text)
    return INCOMPLETE if found.warnings else FINE


def _print_partings(found: Sequence[Parting], *, as_json: bool) -> int:
    if as_json:
        print_json([_parting_document(parting) for parting in found])
    text = EventText(TimeFormat("utc"), color=False)
    for parting in found:
        place = f"{parting.stream} rank {parting.rank}"
        note(f"{place}: alike for {plural(parting.alike, 'event')}, then they part")
        for sign, event in (("-", parting.left), ("+", parting.right)):
            if not as_json:
                print(sign, text.line(event) if event is not None else "(ended)")
    if not found:
        note("the records hold the same events")
    return PROBLEM if found else FINE


def _print_text(found: Comparison) -> None:
    for sign, summary in (("A", found.left), ("B", found.right)):
        runs = printable(", ".join(summary.run_ids))
        print_text(f"{sign}  {runs}  {plural(_events(summary), 'event')}")
    rows: list[tuple[object, ...]]
    rows = [(pair.left, pair.right, pair.name) for pair in found.settings]
    _section(("A", "B", "set differently"), rows, "nothing was set differently")
    _section(("A", "B", "result"), [(pair.left, pair.right, pair.name) for pair in found.results], "")
    rows = [(pair.left, pair.right, _difference(pair.left, pair.right), pair.name) for pair in found.types]
    _section(("A", "B", "B - A", "events by type"), rows, "the same numbers of events of each type")
    rows = [_field_row(pair) for pair in found.fields]
    odd = any((pair.left and pair.left.non_finite) or (pair.right and pair.right.non_finite) for pair in found.fields)
    if not odd:
        rows = [(*row[:5], *row[7:]) for row in rows]
    odds = ("odd A", "odd B") if odd else ()
    head = ("mean A", "mean B", "change", "last A", "last B", *odds, "unit", "field")
    _section(head, rows, "the same numbers in every field")


def _section(head: Sequence[str], rows: Sequence[Sequence[object]], otherwise: str) -> None:
    if rows:
        print_text()
        print_table(head, rows)
    elif otherwise:
        print_text(f"\n{otherwise}")


def _field_row(pair: FieldPair) -> tuple[object, ...]:
    known = pair.left or pair.right
    unit = known.unit if known is not None and known.unit != "1" else ""
    change = None if pair.change is None else f"{100 * pair.change:+.3g} %"
    sides = (pair.left, pair.right)
    means = [None if side is None else _mean(side) for side in sides]
    last = [side.last if side is not None else None for side in sides]
    odd = [(side.non_finite or "") if side is not None else None for side in sides]
    return *means, change, *last, *odd, unit, f"{pair.type} {pair.name}"


def _mean(known: FieldStatistics) -> float | None:
    """Return the mean of the finite values; NaN where values were measured and none was finite."""
    return math.nan if known.mean is None and known.non_finite else known.mean


def _difference(left: int | None, right: int | None) -> str:
    return f"{(right or 0) - (left or 0):+,}"


def _events(summary: Summary) -> int:
    return sum(stream.events for stream in summary.streams)


def _document(found: Comparison) -> dict[str, Any]:
    return {
        "left": {"runs": found.left.run_ids, "events": _events(found.left)},
        "right": {"runs": found.right.run_ids, "events": _events(found.right)},
        "settings": [pair._asdict() for pair in found.settings],
        "results": [pair._asdict() for pair in found.results],
        "types": [pair._asdict() for pair in found.types],
        "fields": [
            {
                "type": pair.type,
                "name": pair.name,
                "left": _figures(pair.left),
                "right": _figures(pair.right),
                "change": pair.change,
            }
            for pair in found.fields
        ],
        "warnings": found.warnings,
    }


def _figures(known: FieldStatistics | None) -> dict[str, Any] | None:
    if known is None:
        return None
    names = ("events", "mean", "least", "most", "last", "non_finite")
    return {name: getattr(known, name) for name in names}


def _parting_document(parting: Parting) -> dict[str, Any]:
    sides = {
        name: None if event is None else {"type": event.type, "seq": event.seq, "data": event.data}
        for name, event in (("left", parting.left), ("right", parting.right))
    }
    return {"stream": parting.stream, "rank": parting.rank, "alike": parting.alike, **sides}
