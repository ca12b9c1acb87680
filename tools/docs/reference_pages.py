"""Write the reference of the events and of the stream protocol from the descriptors of proto/.

    python tools/docs/reference_pages.py            write docs/reference/
    python tools/docs/reference_pages.py --check    exit 1 where a page differs from the schema

Every comment, unit and range is that of the .proto files; nothing is written here by hand but the introductions.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from esper.v1 import seed_pb2, trainer_pb2
from esper_telemetry.commands.schema import markdown_lines
from esper_telemetry.decode.reference import Reference, describe
from esper_telemetry.decode.types import Schema, installed_schema
from esper_telemetry.schema import event_classes, file_closure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "reference"
_CELLS = 5  # of a row of fields: field, type, unit, range, meaning
_SERVICES, _METHODS = 6, 2  # numbers of fields in descriptor.proto: paths of comments are made of them

_EVENTS = """# Built-in events

Written by `make docs` from `proto/`; `help(et.events.PpoUpdateCompleted)` in Python and `esper-telemetry schema RUN`
for the events of any record state the same. A run records an event if the event's level is at most the run's. Shedding
states when a full buffer drops the event; each drop is counted by type. An event that requires context needs those
fields from `bind` or from the call. A field that is not set was not measured. Units are written in
[UCUM](https://ucum.org/ucum): `1` is a ratio or a pure number, `By` bytes, `{step}` counts steps.

Where and when an event happened is in its context, [`Context`](#esper_telemetryv1context), with the same fields for
each type.

| event | recorded from level | shedding | holds |
|---|---|---|---|
"""

_TRAINER = """# Events of the reference trainer

Written by `make docs` from `proto/esper/`. `esper`, the trainer of this checkout, grows a network: it plants small
modules (seeds) in slots of a host, trains them, blends them in, keeps or discards them. These are its own event types,
declared as [any other program would](../guides/own-events.md); it emits [built-in events](events.md) besides. The
twelve questions of the [analysts' page](../analysts.md) ask both.

| event | recorded from level | shedding | holds |
|---|---|---|---|
"""

_PROTOCOL = """# Stream protocol

Written by `make docs` from `proto/esper_telemetry/v1/collector.proto`. [Write a producer](../write-a-producer.md) tells
the same as a way from start to end; [the record format](../../esper_telemetry/recordfile/FORMAT.md) specifies the
frames that are carried, and [the test vectors](../test-vectors.md) check an implementation of either.

{about}

| call | request | response | |
|---|---|---|---|
"""


def main() -> int:
    """Write or check the pages; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a page is not up to date")
    check: bool = parser.parse_args().check
    stale = []
    pages = {"events.md": events_page(), "trainer-events.md": trainer_page(), "stream-protocol.md": protocol_page()}
    for name, text in pages.items():
        page = PAGES / name
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            stale.append(page)
            if not check:
                PAGES.mkdir(exist_ok=True)
                page.write_text(text, encoding="utf-8")
    for page in stale:
        print(f"{page.relative_to(ROOT)}: {'differs from proto/: run make docs' if check else 'written'}")
    return int(check and bool(stale))


def events_page() -> str:
    """Return the reference of all built-in events, with the messages and enums that they hold."""
    schema, names = installed_schema()
    return _EVENTS + _with_overview(describe(schema, names))


def trainer_page() -> str:
    """Return the reference of the trainer's events; what it shares with the SDK is on the page of that."""
    classes = [cls for module in (seed_pb2, trainer_pb2) for cls in event_classes(module)]
    described = describe(
        Schema((file_closure(classes).SerializeToString(),)), [one.DESCRIPTOR.full_name for one in classes]
    )
    own = {name: found for name, found in described.messages.items() if name.startswith("esper.")}
    return _TRAINER + _with_overview(Reference(described.events, own, described.enums))


def _with_overview(reference: Reference) -> str:
    """Return a row for each event, for the table that is begun, and then every type in full."""
    rows = (
        f"| [`{event.name}`](#{_anchor(event.name)}) | {event.level} | {event.shedding} |"
        f" {_sentence(event.message.comment)} |"
        for event in reference.events.values()
    )
    return "\n".join(rows) + "\n\n" + "\n".join(markdown_lines(reference)).rstrip() + "\n"


def protocol_page() -> str:
    """Return the reference of the collector's service and of every message that it exchanges."""
    binary = (ROOT / "esper_telemetry" / "v1" / "schema.binpb").read_bytes()
    (file,) = (one for one in FileDescriptorSet.FromString(binary).file if one.name.endswith("/collector.proto"))
    comments = {tuple(one.path): " ".join(one.leading_comments.split()) for one in file.source_code_info.location}
    (service,) = file.service
    rows = []
    for at, method in enumerate(service.method):
        sent = f"{'stream ' * method.client_streaming}`{method.input_type.rpartition('.')[2]}`"
        received = f"{'stream ' * method.server_streaming}`{method.output_type.rpartition('.')[2]}`"
        rows.append(f"| `{method.name}` | {sent} | {received} | {comments[_SERVICES, 0, _METHODS, at]} |")
    names = [f"{file.package}.{message.name}" for message in file.message_type]
    described = describe(Schema((binary,)), names)
    messages = {event.message.full_name: event.message for event in described.events.values()}
    own = Reference(messages={name: messages[name] for name in names}, enums=described.enums)
    head = _PROTOCOL.format(about=comments[_SERVICES, 0])
    return head + "\n".join(rows) + "\n\n" + "\n".join(_without_ranges(markdown_lines(own))).rstrip() + "\n"


def _without_ranges(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines; tables of fields lose the columns of units and ranges, which these messages do not state."""
    for line in lines:
        cells = line.split(" | ")
        yield (
            " | ".join([*cells[:2], *cells[4:]])
            if len(cells) == _CELLS
            else line.replace("|---|---|---|---|---|", "|---|---|---|")
        )


def _anchor(heading: str) -> str:
    """Return the anchor that Sphinx gives a heading."""
    return heading.replace(".", "").replace(" ", "-").lower()


def _sentence(comment: str) -> str:
    """Return the first sentence of a comment."""
    return " ".join(comment.split()).split(". ", maxsplit=1)[0].rstrip(".").replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
