"""From what a person passes as runs and types to tables that can be read: files, schemas, the choice of events."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from esper_telemetry.decode import Filter, survey
from esper_telemetry.decode.faults import FaultReport, Faults
from esper_telemetry.decode.streams import OpenReaders
from esper_telemetry.decode.types import Schema, descriptor_of, installed_schema, segment_schema
from esper_telemetry.errors import RecordError
from esper_telemetry.schema import file_closure
from esper_telemetry.tables.layouts import Layouts
from esper_telemetry.tables.scanning import Scanner
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    import pyarrow as pa
    from google.protobuf.message import Message

    from esper_telemetry.decode import RecordFiles, Survey
    from esper_telemetry.decode.inputs import RecordPath
    from esper_telemetry.tables.layouts import TableLayout

    TypeName = str | type[Message]
    Runs = RecordPath | Iterable[RecordPath] | RecordFiles | None


class RecordWarning(UserWarning):
    """A record that was read into a table lacks something: it is damaged, cut off, or events were lost."""


class Reading(FaultReport):
    """The tables of some records, ready to be read. Each iteration reads the records anew.

    Args:
        found: the records.
        types: names, patterns or classes of the types that are wanted; None for all.
        wanted: which events beside that.
        expand: give blocks of steps as rows of the type that their rows have.
        strict: raise damage instead of passing over it.
        latest: leave out what a later attempt at a run did again.
        fast: use ptars where it is installed.

    Raises:
        SchemaError: no such type is declared, or a field has two types in two records.
        CorruptRecordError: the descriptors of a record are invalid.

    Attributes:
        layouts: the tables that all records together declare, and empty ones of this SDK's other types.
        chosen: those that are wanted, by name.
    """

    def __init__(
        self,
        found: Survey,
        types: TypeName | Iterable[TypeName] | None = None,
        wanted: Filter | None = None,
        *,
        expand: bool = True,
        strict: bool = True,
        latest: bool = False,
        fast: bool = True,
    ) -> None:
        super().__init__(Faults(strict=strict))
        self.layouts = declared(found)
        for cls in _several(types or ()):
            if not isinstance(cls, str):  # what it is known by without a record
                schema = Schema((file_closure([context_pb2.Context, cls]).SerializeToString(),))
                self.layouts.add_missing(schema, [descriptor_of(cls).full_name])
        self._found = found
        self._wanted = wanted or Filter()
        self._expand, self._latest, self._fast = expand, latest, fast
        names = None if types is None else type_names(types)
        chosen = self.layouts.all() if names is None else self.layouts.chosen(names)
        self.chosen: dict[str, TableLayout] = {layout.name: layout for layout in chosen}

    def __iter__(self) -> Iterator[tuple[TableLayout, pa.RecordBatch]]:
        self._faults = Faults(strict=self._faults.strict)
        self._faults.warnings += self._found.warnings
        self._faults.notes += self._found.notes
        wanted = replace(self._wanted, types=tuple(layout.full_name for layout in self.chosen.values()))
        return iter(
            Scanner(
                self._found,
                self.layouts,
                wanted,
                self._faults,
                expand=self._expand,
                latest=self._latest,
                fast=self._fast,
            )
        )

    def warn(self, level: int) -> None:
        """Issue each warning of the last iteration as a RecordWarning, at the line that called so many frames up."""
        for text in self.warnings:
            warnings.warn(text, RecordWarning, stacklevel=level + 1)


def open_reading(runs: Runs, types: TypeName | Iterable[TypeName] | None = None, **choice: Any) -> Reading:
    """Return the tables of runs.

    Args:
        runs: a record file, a run folder, a pattern, or several of these.
        types: as for `Reading`.
        choice: envs, ranks, since, until, first_seq, last_seq, batches, steps, expand, strict and latest, as for
            `read`.

    Raises:
        RecordError: nothing of it can be read.
        SchemaError: as for `Reading`.
        ValueError: a datetime has no time zone.
    """
    settings = {name: choice.pop(name) for name in ("expand", "strict", "latest", "fast") if name in choice}
    return Reading(survey(runs), types, chosen_events(**choice), **settings)


def chosen_events(
    *,
    envs: Iterable[int] | None = None,
    ranks: Iterable[int] | None = None,
    since: int | datetime | None = None,
    until: int | datetime | None = None,
    first_seq: int | None = None,
    last_seq: int | None = None,
    batches: tuple[int | None, int | None] | None = None,
    steps: tuple[int | None, int | None] | None = None,
) -> Filter:
    """Return a choice of events, of any type; arguments as for `read`.

    Raises:
        ValueError: a datetime has no time zone.
    """
    return Filter(
        envs=None if envs is None else frozenset(envs),
        ranks=None if ranks is None else frozenset(ranks),
        since_ns=_unix_nano(since),
        until_ns=_unix_nano(until),
        first_seq=first_seq,
        last_seq=last_seq,
        batches=batches,
        steps=steps,
    )


def declared(found: Survey) -> Layouts:
    """Return the tables that records declare, and those of this SDK's types that none does: they are empty.

    Of a file that is gone meanwhile, reading it tells.

    Raises:
        CorruptRecordError: the descriptors of a record are invalid.
        SchemaError: a field has two types in two records.
    """
    layouts = Layouts()
    readers = OpenReaders(found.places, Faults(strict=False))
    try:
        for place in found.places:
            try:
                reader, segment = readers.take(place)
            except RecordError:
                continue
            layouts.add(segment_schema(segment, reader.path), segment.types.values())
            readers.give_back(place.path)
    finally:
        readers.close()
    if found.places or found.notes:
        layouts.add_missing(*installed_schema())
    return layouts


def type_names(types: TypeName | Iterable[TypeName]) -> tuple[str, ...]:
    """Return the names of types that are given as names or classes."""
    return tuple(name if isinstance(name, str) else name.DESCRIPTOR.full_name for name in _several(types))


def _several(types: TypeName | Iterable[TypeName]) -> list[Any]:
    return [types] if isinstance(types, (str, type)) else list(types)


def _unix_nano(moment: int | datetime | None) -> int | None:
    if moment is None or isinstance(moment, int):
        return moment
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone; add one, such as datetime.UTC")
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * 1_000_000_000 + moment.microsecond * 1000
