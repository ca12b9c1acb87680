"""`esper-telemetry schema`: the event reference of a record, from the descriptors it embeds."""

from __future__ import annotations

import dataclasses
import textwrap
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

from esper_telemetry.commands.output import (
    FINE,
    INCOMPLETE,
    available_width,
    colored,
    print_json,
    print_text,
    printable,
    warn,
)
from esper_telemetry.commands.reading import check_types, files_argument, find_files, json_option
from esper_telemetry.decode import Reference, record_reference, survey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from esper_telemetry.decode import EnumReference, EventReference, FieldReference, MessageReference

_WIDTH = 100
_LEAST_WIDTH = 30
_SHED = {"first": "shed first", "later": "shed later", "never": "never shed"}


@click.command
@files_argument
@click.option("--type", "types", metavar="TYPE", multiple=True, help="Only this type: seed.culled, or seed.*.")
@click.option("--markdown", is_flag=True, help="Print Markdown.")
@json_option
def command(files: tuple[str, ...], types: tuple[str, ...], *, markdown: bool, as_json: bool) -> int:
    """Say what the events of a record mean: levels, fields, units, ranges and comments.

    Everything comes from the record itself, so it holds for anybody's events.
    """
    found = survey(find_files(files))
    check_types(types, found)
    reference = _chosen(record_reference(found), types)
    if as_json:
        print_json(dataclasses.asdict(reference))
    elif markdown:
        for line in markdown_lines(reference):
            print_text(printable(line))
    else:
        _print_text(reference)
    for warning in found.warnings:
        warn(warning)
    return INCOMPLETE if found.warnings else FINE


def _chosen(reference: Reference, types: Sequence[str]) -> Reference:
    """Return the events of `types` with the messages and enums that they hold."""
    if not types:
        return reference
    events = {
        name: event
        for name, event in reference.events.items()
        if any(fnmatchcase(shown, want) for want in types for shown in (name, event.message.full_name))
    }
    needed: set[str] = set()
    waiting = [event.message for event in events.values()]
    while waiting:
        words = {word for one in waiting.pop().fields for word in one.type.replace(">", " ").split()} - needed
        needed |= words
        waiting += [found for found in reference.messages.values() if _short(found.full_name) in words]
    return Reference(
        events=events,
        messages={name: found for name, found in reference.messages.items() if _short(name) in needed},
        enums={name: found for name, found in reference.enums.items() if _short(name) in needed},
    )


def _print_text(reference: Reference) -> None:
    for event in reference.events.values():
        click.secho(printable(event.name), bold=colored(), nl=False)
        print_text(f"  {event.message.full_name}  {_policy(event)}")
        _print_message(event.message)
    for message in reference.messages.values():
        click.secho(printable(message.full_name), bold=colored())
        _print_message(message)
    for enum in reference.enums.values():
        click.secho(printable(enum.full_name), bold=colored())
        _print_enum(enum)


def _width() -> int:
    return max(_LEAST_WIDTH, min(_WIDTH, available_width()))


def _print_message(message: MessageReference) -> None:
    if message.comment:
        print_text(textwrap.fill(message.comment, _width(), initial_indent="  ", subsequent_indent="  "))
    for one in message.fields:
        facts = " ".join(filter(None, (one.type, _unit(one), _range(one))))
        print_text(printable(f"    {one.name}  {facts}"))
        if one.comment:
            print_text(textwrap.fill(one.comment, _width(), initial_indent=" " * 8, subsequent_indent=" " * 8))
    print_text()


def _print_enum(enum: EnumReference) -> None:
    if enum.comment:
        print_text(textwrap.fill(enum.comment, _width(), initial_indent="  ", subsequent_indent="  "))
    for number, name, comment in enum.values:
        print_text(printable(f"    {number:>3}  {name}  {comment}"))
    print_text()


def markdown_lines(reference: Reference) -> Iterable[str]:
    """Yield the reference as Markdown, one section for each event, message and enum."""
    for event in reference.events.values():
        yield from (f"## {event.name}", "", f"`{event.message.full_name}`, {_policy(event)}", "")
        yield from _markdown_message(event.message)
    for message in reference.messages.values():
        yield from (f"## {message.full_name}", "")
        yield from _markdown_message(message)
    for enum in reference.enums.values():
        yield from (
            f"## {enum.full_name}",
            "",
            _collapsed(enum.comment),
            "",
            "| number | shown as | meaning |",
            "|---|---|---|",
        )
        yield from (f"| {number} | `{name}` | {_cell(comment)} |" for number, name, comment in enum.values)
        yield ""


def _markdown_message(message: MessageReference) -> Iterable[str]:
    yield from (_collapsed(message.comment), "", "| field | type | unit | range | meaning |", "|---|---|---|---|---|")
    for one in message.fields:
        unit = f"`{one.unit}`" if one.unit else ""
        yield f"| `{one.name}` | `{one.type}` | {unit} | {_range(one)} | {_cell(one.comment)} |"
    yield ""


def _policy(event: EventReference) -> str:
    needs = f", requires {', '.join(event.requires)}" if event.requires else ""
    return f"level {event.level}, {_SHED.get(event.shedding, event.shedding)}{needs}"


def _unit(one: FieldReference) -> str:
    return f"[{one.unit}]" if one.unit else ""


def _range(one: FieldReference) -> str:
    if one.minimum is None and one.maximum is None:
        return ""
    low = "" if one.minimum is None else f"{one.minimum:g}"
    high = "" if one.maximum is None else f"{one.maximum:g}"
    return f"{low}..{high}"


def _cell(text: str) -> str:
    return _collapsed(text).replace("|", "\\|").replace("<", "&lt;")


def _collapsed(text: str) -> str:
    return " ".join(text.split())


def _short(full_name: str) -> str:
    return full_name.rpartition(".")[2]
