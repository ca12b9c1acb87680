"""`esper-telemetry stats`: counts, bytes and values by type and field."""

from __future__ import annotations

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
from esper_telemetry.decode import count_events, declared_types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper_telemetry.decode import FieldStatistics, TypeStatistics

    Counted = Mapping[tuple[str, int | None], TypeStatistics]

_NANOS = 1_000_000_000
_SHOWN_TEXTS = 4


@click.command
@files_argument
@filter_options
@latest_option
@json_option
@click.option("--fields/--no-fields", default=True, show_default=True, help="Show the fields of each type.")
@click.option("--by-rank", is_flag=True, help="Keep ranks apart; else they are counted together.")
def command(files: tuple[str, ...], choice: Choice, *, latest: bool, as_json: bool, fields: bool, by_rank: bool) -> int:
    """Count events, bytes and values by type and field. Everything is read once.

    Bytes are those before compression. A list counts each of its values.
    """
    records = open_records(files, choice, latest=latest)
    types = declared_types(records.found)
    found = count_events(counted(records, "counting", records.events), by_rank=by_rank)
    for known in found.values():
        known.name = types.shown(known.full_name)
    if as_json:
        print_json([_document(rank, statistics, fields=fields) for (_, rank), statistics in found.items()])
    else:
        _print_types(found, by_rank=by_rank)
        for (_, rank), statistics in found.items() if fields else ():
            _print_fields(rank, statistics)
    return tell_losses(records)


def _print_types(found: Counted, *, by_rank: bool) -> None:
    total = sum(statistics.bytes for statistics in found.values()) or 1
    rows: list[tuple[object, ...]] = []
    for (_, rank), known in found.items():
        seconds = (known.last_time - known.first_time) / _NANOS
        rate = f"{(known.events - 1) / seconds:.3g}" if seconds and known.events > 1 else None
        share, each = f"{100 * known.bytes / total:.1f} %", f"{known.bytes / known.events:.1f}"
        rows.append((known.events, size(known.bytes), share, each, rate, *([rank] if by_rank else []), known.name))
    print_table(("events", "bytes", "share", "each", "per s", *(["rank"] if by_rank else []), "type"), rows)


def _print_fields(rank: int | None, statistics: TypeStatistics) -> None:
    print_text()
    print_text(printable(statistics.name) + (f" (rank {rank})" if rank is not None else ""))
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


def _document(rank: int | None, statistics: TypeStatistics, *, fields: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        name: getattr(statistics, name) for name in ("name", "full_name", "events", "bytes", "first_time", "last_time")
    }
    if rank is not None:
        document["rank"] = rank
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
