"""`esper-telemetry stats`: counts, bytes and values by type and field."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from esper_telemetry.commands.output import print_json, print_table, print_text, printable, size
from esper_telemetry.commands.progress import counted
from esper_telemetry.commands.reading import (
    Choice,
    files_argument,
    filter_options,
    json_option,
    latest_option,
    open_records,
    tell_losses,
)
from esper_telemetry.decode import count_envelopes, count_events, declared_types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper_telemetry.decode import FieldStatistics, TypeStatistics
    from esper_telemetry.decode.statistics import CountKey

    Counted = Mapping[CountKey, TypeStatistics]

_NANOS = 1_000_000_000
_SHOWN_TEXTS = 4


@click.command
@files_argument
@filter_options
@latest_option
@json_option
@click.option("--fields/--no-fields", default=True, show_default=True, help="Show the fields of each type.")
@click.option("--by-rank", is_flag=True, help="Keep ranks apart; else they are counted together.")
@click.option("--by-run", is_flag=True, help="Keep runs apart; else they are counted together.")
def command(
    files: tuple[str, ...],
    choice: Choice,
    *,
    latest: bool,
    as_json: bool,
    fields: bool,
    by_rank: bool,
    by_run: bool,
) -> int:
    """Count events, bytes and values by type and field. Everything is read once.

    Bytes are those before compression. A list counts each of its values. With --no-fields no payload is parsed.
    """
    # Rows are needed for their fields, or where they are chosen by their own type or environment.
    rows = fields or choice.plain.types is not None or choice.plain.by_place
    records = open_records(files, choice, latest=latest, expand=rows and not choice.blocks)
    types = declared_types(records.found)
    if fields:
        found = count_events(counted(records, "counting", records.events), by_rank=by_rank, by_run=by_run)
    else:
        found = count_envelopes(records, by_rank=by_rank, by_run=by_run)
    for known in found.values():
        known.name = types.shown(known.full_name)
    if as_json:
        print_json([_document(key, statistics, fields=fields) for key, statistics in found.items()])
    else:
        _print_types(found, by_rank=by_rank, by_run=by_run)
        for key, statistics in found.items() if fields else ():
            _print_fields(key, statistics)
    return tell_losses(records, given=sum(known.events for known in found.values()))


def _print_types(found: Counted, *, by_rank: bool, by_run: bool) -> None:
    totals: Counter[str | None] = Counter()
    for key, known in found.items():
        totals[key.run_id] += known.bytes
    rows: list[tuple[object, ...]] = []
    for key, known in found.items():
        seconds = (known.last_time - known.first_time) / _NANOS
        rate = f"{(known.events - 1) / seconds:.3g}" if seconds and known.events > 1 else None
        share, each = f"{100 * known.bytes / (totals[key.run_id] or 1):.1f} %", f"{known.bytes / known.events:.1f}"
        apart = [*([key.run_id] if by_run else []), *([key.rank] if by_rank else [])]
        rows.append((*apart, known.events, size(known.bytes), share, each, rate, known.name))
    apart_head = [*(["run"] if by_run else []), *(["rank"] if by_rank else [])]
    print_table((*apart_head, "events", "bytes", "share", "each", "per s", "type"), rows)


def _print_fields(key: CountKey, statistics: TypeStatistics) -> None:
    run = [] if key.run_id is None else [key.run_id]
    rank = [] if key.rank is None else [f"rank {key.rank}"]
    where = ", ".join([*run, *rank])
    print_text()
    print_text(printable(statistics.name + (f" ({where})" if where else "")))
    rows = [_field_row(name, field) for name, field in statistics.fields.items()]
    head = ("field", "set", "bytes", "min", "mean", "max", "sum", "odd", "unit", "values")
    print_table(head, rows, indent="  ")


def _field_row(name: str, field: FieldStatistics) -> tuple[object, ...]:
    texts = ", ".join(f"{text} {count:,}" for text, count in field.texts.most_common(_SHOWN_TEXTS))
    unit = "" if field.unit == "1" else field.unit
    shown = _more(texts, len(field.texts) - _SHOWN_TEXTS)
    return name, field.events, field.bytes or "", *_numbers(field), field.non_finite or "", unit, shown


def _numbers(field: FieldStatistics) -> tuple[object, ...]:
    """Return min, mean, max and sum where they mean something: no mean of keys, a sum of deltas only."""
    if not field.finite:
        return "", "", "", ""
    mean = "" if field.kind == "key" else field.mean
    return field.least, mean, field.most, field.total if field.kind == "delta" else ""


def _more(texts: str, more: int) -> str:
    return f"{texts}, {more:,} more" if more > 0 else texts


def _document(key: CountKey, statistics: TypeStatistics, *, fields: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        name: getattr(statistics, name) for name in ("name", "full_name", "events", "bytes", "first_time", "last_time")
    }
    document |= {name: value for name, value in (("run", key.run_id), ("rank", key.rank)) if value is not None}
    if fields:
        document["fields"] = {name: _field_document(field) for name, field in statistics.fields.items()}
    return document


def _field_document(field: FieldStatistics) -> dict[str, Any]:
    document: dict[str, Any] = {"events": field.events, "bytes": field.bytes, "values": field.values}
    document |= {name: text for name, text in (("unit", field.unit), ("kind", field.kind)) if text}
    if field.finite or field.non_finite:
        document["non_finite"] = field.non_finite
    if field.finite:
        document |= {"min": field.least, "mean": field.mean, "max": field.most, "sum": field.total}
    if field.texts:
        document["texts"] = dict(field.texts.most_common())
    return document
