"""What an export did, and what the other form could not hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from esper_telemetry.decode import Event

UNDECLARED = "the record holds no descriptors of this type"


def decodable(events: Iterable[Event], lost: dict[str, str]) -> Iterator[Event]:
    """Yield the events whose message can be parsed, and note the types of the others in `lost`."""
    for event in events:
        try:
            event.message  # noqa: B018 - a property that parses
        except CorruptRecordError:
            lost[event.type] = "the record does not declare it, or a payload does not fit it"
            continue
        yield event


@dataclass(slots=True)
class ExportReport:
    """What an export did.

    Attributes:
        rows: events that were written; of a data set, its rows without those of `runs`.
        files: files that were written.
        bytes: their size.
        streams: of a data set, the streams with something new.
        warnings: what the records lack, one sentence each.
        notes: what is worth knowing and no fault.
        lost: what the form does not hold, by type and field ("seed.culled.reason"), and why.
    """

    rows: int = 0
    files: int = 0
    bytes: int = 0
    streams: int = 0
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
