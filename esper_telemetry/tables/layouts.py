"""Which tables a record has, under which names and with which columns: decided by the schema of all runs together.

No value of a run is looked at, so the same runs give the same tables whatever happened in them, and a declared type
without events has a table without rows. One message name is one table, whatever versions of it the runs declare.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from esper_telemetry.decode.types import CONTEXT, descriptor_of, field_metas
from esper_telemetry.errors import SchemaError
from esper_telemetry.schema import to_plain
from esper_telemetry.tables.columntypes import TEXT, TIME, WELL_KNOWN, column_type, merged_type
from esper_telemetry.v1 import context_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor import Descriptor

    from esper_telemetry.decode.types import Schema

BASE = (
    ("run", TEXT, "Run id."),
    ("stream", TEXT, "Name of the stream: the run's own, or that of a child process."),
    ("rank", pa.uint32(), "Distributed rank of the process that emitted it."),
    ("attempt", pa.uint32(), "Attempt at the run, from 1: a resume is the next one."),
    ("seq", pa.uint64(), "Number of the event in its stream, from 1; the rows of a block of steps share one."),
    ("time", TIME, "Wall clock."),
)
PAYLOAD = "payload"
UNDECLARED = "type:"
# Some three records' worth of types: they are asked for again by each table of the same records.
_MOST_VERSIONS = 128


@dataclass(slots=True)
class TableLayout:
    """One table.

    Attributes:
        name: short name of the type where no other type of the runs has it, else the full one.
        full_name: name of the message, e.g. "esper.v1.SeedCulled".
        schema: names, types, units and descriptions of its columns.
        base: name of each column of BASE here.
        context: name of the column of each field of Context here.
        payload: names of the columns that hold the fields of the message, in the order of `schema`.
    """

    name: str
    full_name: str
    schema: pa.Schema
    base: dict[str, str]
    context: dict[str, str]
    payload: tuple[str, ...]


class _Version(NamedTuple):
    """A message as one schema declares it: type and metadata of each field, and the comment on it."""

    types: dict[str, pa.DataType]
    metadata: dict[str, dict[str, str]]
    comment: str


@lru_cache(maxsize=_MOST_VERSIONS)
def _version(schema: Schema, descriptor: Descriptor) -> _Version:
    """Return a message of a schema; what is returned is shared and not changed."""
    comments, metas = schema.comments, field_metas(descriptor)
    found = _Version({}, {}, comments.of_message(descriptor))
    inside = [(name, meta.unit) for name, meta in metas.items() if "." in name]
    for at, one in enumerate(descriptor.fields):
        found.types[one.name] = column_type(one)
        about = {"description": comments.of_field(descriptor, at)}
        if one.name in metas:
            about |= {key: _text(value) for key, value in to_plain(metas[one.name]).items()}
        start = f"{one.name}."
        about |= {f"unit of {name.removeprefix(start)}": unit for name, unit in inside if name.startswith(start)}
        if one.message_type is not None and _holds_itself(one.message_type, (descriptor.full_name,)):
            about["encoding"] = "a message inside one of its own type is binary: its serialized bytes"
        found.metadata[one.name] = {key: text for key, text in about.items() if text}
    return found


@dataclass(slots=True)
class _Fields:
    """Fields of one message over all versions of it, by name: type and metadata."""

    types: dict[str, pa.DataType] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    short: str = ""
    comment: str = ""
    unread: list[Schema] = field(default_factory=list)

    def read(self, full_name: str) -> None:
        """Take the fields of the schemas that were only noted: of most types nothing but the name is asked for.

        Raises:
            SchemaError: as `add`.
        """
        while self.unread:
            schema = self.unread.pop(0)
            kind = schema.kind(full_name)
            if kind.cls is not None:
                self.add(_version(schema, descriptor_of(kind.cls)), full_name)

    def add(self, version: _Version, full_name: str) -> None:
        """Take the fields of one version of the message.

        Raises:
            SchemaError: a field has another type than in a version before.
        """
        self.comment = version.comment
        for name, kind in version.types.items():
            self.types[name] = merged_type(self.types.get(name, kind), kind, f"{full_name}.{name}")
            self.metadata[name] = self.metadata.get(name, {}) | version.metadata[name]


class Layouts:
    """The tables of some runs; it is given the schema of each segment, then asked."""

    def __init__(self) -> None:
        self._messages: dict[str, _Fields] = {}
        self._context = _Fields()
        self._seen: set[tuple[int, frozenset[str]]] = set()
        self._schemas: list[Schema] = []  # kept, so that their ids stay theirs
        self._made: dict[str, TableLayout] = {}

    def add(self, schema: Schema, full_names: Iterable[str]) -> None:
        """Take the types that a segment declares.

        Raises:
            SchemaError: a field has another type than in a segment before.
        """
        names = frozenset(full_names)
        if (id(schema), names) in self._seen:
            return
        self._seen.add((id(schema), names))
        self._schemas.append(schema)
        self._made.clear()
        self._context.add(_context_of(schema), CONTEXT)
        for full_name in full_names:
            fields = self._note(schema, full_name)
            if fields.types or len(fields.unread) > 1:  # two versions may contradict each other
                fields.read(full_name)

    def add_missing(self, schema: Schema, full_names: Iterable[str]) -> None:
        """Take those types that no segment declares: their tables are empty, and have the columns of `schema`."""
        missing = [name for name in full_names if name not in self._messages]
        if missing:
            self._made.clear()
            self._context.add(_context_of(schema), CONTEXT)
        for full_name in missing:
            self._note(schema, full_name)

    def _note(self, schema: Schema, full_name: str) -> _Fields:
        kind = schema.kind(full_name)
        fields = self._messages.setdefault(full_name, _Fields())
        fields.short = kind.name if kind.cls is not None else fields.short or full_name
        fields.unread.append(schema)
        return fields

    @property
    def names(self) -> list[str]:
        """Names of all tables, sorted."""
        return sorted(self._name(full_name) for full_name in self._messages)

    def all(self) -> list[TableLayout]:
        """Return all tables, sorted by name."""
        return sorted((self.of(full_name) for full_name in self._messages), key=lambda layout: layout.name)

    def of(self, full_name: str) -> TableLayout:
        """Return the table of a type; one that no segment declares has its payload as bytes."""
        if full_name not in self._made:
            self._made[full_name] = self._layout(full_name)
        return self._made[full_name]

    def chosen(self, names: str | Iterable[str]) -> list[TableLayout]:
        """Return the tables that names or patterns choose, sorted by name.

        Args:
            names: short or full names of types, in which * and ? match anything.

        Raises:
            SchemaError: nothing has such a name, or a short name is that of several types.
        """
        found = dict.fromkeys(
            full for name in ([names] if isinstance(names, str) else names) for full in self._find(name)
        )
        return sorted((self.of(full_name) for full_name in found), key=lambda layout: layout.name)

    def _find(self, want: str) -> list[str]:
        if want in self._messages or want.startswith(UNDECLARED) or not self._messages:
            return [want]
        found = [full for full, fields in self._messages.items() if _means(want, full, fields.short)]
        if not found:
            close = get_close_matches(want, [*self.names, *self._messages], 3, 0.6)
            hint = f"; did you mean {' or '.join(close)}?" if close else f"; the types are {', '.join(self.names)}"
            raise SchemaError(f"no type {want!r} is declared by these records{hint}")
        if len(found) > 1 and not any(mark in want for mark in "*?["):
            raise SchemaError(f"{want!r} is the short name of several types; use one of {', '.join(sorted(found))}")
        return found

    def _name(self, full_name: str) -> str:
        short = self._messages[full_name].short if full_name in self._messages else full_name
        shorts = Counter(fields.short for fields in self._messages.values())
        return short if shorts[short] <= 1 and (short == full_name or short not in self._messages) else full_name

    def _layout(self, full_name: str) -> TableLayout:
        message = self._messages.get(full_name, _Fields(short=full_name))
        message.read(full_name)
        types = message.types or {PAYLOAD: pa.binary()}
        taken = set(types)
        base = {name: _free(name, f"{name}_", taken) for name, _, _ in BASE}
        context = {name: _free(name, f"context_{name}", taken) for name in self._context.types}
        columns = [pa.field(base[name], kind, metadata={"description": text}) for name, kind, text in BASE]
        columns += [
            pa.field(column, self._context.types[name], metadata=self._context.metadata[name])
            for name, column in context.items()
        ]
        columns += [pa.field(name, kind, metadata=message.metadata.get(name)) for name, kind in types.items()]
        about = {"type": message.short, "full_name": full_name, "description": message.comment}
        return TableLayout(self._name(full_name), full_name, pa.schema(columns, about), base, context, tuple(types))


def _context_of(schema: Schema) -> _Version:
    return _version(schema, descriptor_of(schema.message_class(CONTEXT) or context_pb2.Context))


def _means(want: str, full_name: str, short: str) -> bool:
    return fnmatchcase(short, want) or fnmatchcase(full_name, want)


def _free(name: str, other: str, taken: set[str]) -> str:
    """Return `name` or, where it is taken, `other`; and mark it as taken."""
    chosen = other if name in taken else name
    while chosen in taken:
        chosen += "_"
    taken.add(chosen)
    return chosen


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _holds_itself(message: Descriptor, inside: tuple[str, ...]) -> bool:
    if message.full_name in inside:
        return True
    if message.full_name in WELL_KNOWN:
        return False
    within = (*inside, message.full_name)
    return any(one.message_type is not None and _holds_itself(one.message_type, within) for one in message.fields)
