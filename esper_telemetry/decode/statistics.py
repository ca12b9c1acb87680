"""Counts, bytes and values by type and field, over a whole record: one pass, memory bounded by types and fields."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor as F

from esper_telemetry.decode.event import Event, RowEvent
from esper_telemetry.decode.tallies import Tallies
from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.schema import is_map, is_repeated
from esper_telemetry.schema.envelope import varint_size
from esper_telemetry.v1 import options_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    from esper_telemetry.decode.records import Records
    from esper_telemetry.v1.options_pb2 import FieldMeta

# Beyond so many different ones, texts of a field and names of fields (keys of maps) are counted together.
_MOST_VALUES = 64
_LONGEST_TEXT = 80
_MOST_FIELDS = 1024
OTHERS = "…"
_FIXED = {
    F.TYPE_DOUBLE: 8,
    F.TYPE_FIXED64: 8,
    F.TYPE_SFIXED64: 8,
    F.TYPE_FLOAT: 4,
    F.TYPE_FIXED32: 4,
    F.TYPE_SFIXED32: 4,
    F.TYPE_BOOL: 1,
}
_KINDS = {
    options_pb2.KIND_GAUGE: "gauge",
    options_pb2.KIND_DELTA: "delta",
    options_pb2.KIND_CUMULATIVE: "cumulative",
    options_pb2.KIND_KEY: "key",
}


@dataclass(slots=True)
class FieldStatistics:
    """One field of a type over the events that set it.

    Attributes:
        unit: UCUM unit, or "".
        kind: how it behaves over time: "gauge", "delta", "cumulative" or "key"; "" where that is not stated.
        events: events that set it.
        bytes: what it took before compression; 0 for context, for parts of messages and for rows of blocks.
        values: values seen: more than events for a list, or a field of nested messages.
        finite: finite numbers among them.
        non_finite: NaN and infinities among them.
        total: sum of the finite ones.
        least: smallest finite one; None without any.
        most: largest finite one.
        last: value seen last.
        texts: how often each text, label or truth value was seen.
    """

    unit: str = ""
    kind: str = ""
    events: int = 0
    bytes: int = 0
    values: int = 0
    finite: int = 0
    non_finite: int = 0
    total: float = 0.0
    least: float | None = None
    most: float | None = None
    last: Any = None
    texts: Counter[str] = field(default_factory=Counter)

    @property
    def mean(self) -> float | None:
        """Mean of the finite numbers."""
        return self.total / self.finite if self.finite else None

    def add(self, value: Any) -> None:
        """Count one value."""
        self.values += 1
        self.last = value
        if isinstance(value, (str, bool)):
            text = _shortened(value) if isinstance(value, str) else str(value).lower()
            self.texts[text if text in self.texts or len(self.texts) < _MOST_VALUES else OTHERS] += 1
        elif isinstance(value, (int, float)):
            self._add_number(value)

    def _add_number(self, value: float) -> None:
        if not math.isfinite(value):
            self.non_finite += 1
            return
        self.finite += 1
        self.total += value
        self.least = value if self.least is None or value < self.least else self.least
        self.most = value if self.most is None or value > self.most else self.most


@dataclass(slots=True)
class TypeStatistics:
    """One type of event.

    Attributes:
        name: short name.
        full_name: full name of the message.
        events: how many; rows of blocks count one each.
        bytes: what they took before compression.
        first_time: earliest, nanoseconds since 1970 UTC.
        last_time: latest.
        fields: by name, in the order met; parts of messages and maps as "heads.entropy".
    """

    name: str
    full_name: str
    events: int = 0
    bytes: int = 0
    first_time: int = 0
    last_time: int = 0
    fields: dict[str, FieldStatistics] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Count one event."""
        self.add_envelopes(1, event.size, event.time_unix_nano, event.time_unix_nano)
        metas = event.metas
        seen = set()
        for name, value in flatten(event.data):
            statistics = self._field(name, metas)
            if name not in seen:
                seen.add(name)
                statistics.events += 1
            statistics.add(value)
        for name, size in _sizes(event).items():
            statistics = self._field(name, metas)
            statistics.bytes += size
            statistics.events += name not in seen  # a message or map: what it holds is counted under its own names

    def add_envelopes(self, events: int, size: int, first_time: int, last_time: int) -> None:
        """Count events by what their envelopes tell.

        Args:
            events: how many.
            size: their bytes before compression.
            first_time: earliest, nanoseconds since 1970 UTC.
            last_time: latest.
        """
        self.first_time = min(self.first_time, first_time) if self.events else first_time
        self.last_time = max(self.last_time, last_time) if self.events else last_time
        self.events += events
        self.bytes += size

    def _field(self, name: str, metas: Mapping[str, FieldMeta]) -> FieldStatistics:
        known = self.fields.get(name)
        if known is None:
            base = name.partition(".")[0]
            if len(self.fields) >= _MOST_FIELDS:
                name = f"{base}.{OTHERS}"
            meta = metas.get(name) or metas.get(base)  # the values of a map have the annotation of the map
            unit, kind = (meta.unit, _KINDS.get(meta.kind, "")) if meta else ("", "")
            known = self.fields.setdefault(name, FieldStatistics(unit, kind))
        return known


def _shortened(text: str) -> str:
    """Return a text as it is distinguished here: by its beginning, so that long ones take no room."""
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + OTHERS


class CountKey(NamedTuple):
    """What events are counted together by.

    Attributes:
        full_name: full name of the type.
        run_id: the run; None where runs are counted together.
        rank: the rank; None where ranks are counted together.
    """

    full_name: str
    run_id: str | None = None
    rank: int | None = None


Counted = dict[CountKey, TypeStatistics]


def count_events(events: Iterable[Event], *, by_rank: bool = False, by_run: bool = False) -> Counted:
    """Return the statistics of each type, most bytes first; those of a run together, in the order of the runs.

    Args:
        events: what to count.
        by_rank: keep ranks apart.
        by_run: keep runs apart.
    """
    found: Counted = {}
    for event in events:
        key = CountKey(event.full_name, event.run_id if by_run else None, event.rank if by_rank else None)
        statistics = found.get(key)
        if statistics is None:
            statistics = found[key] = TypeStatistics(event.type, event.full_name)
        statistics.add(event)
    return _in_order(found)


def count_envelopes(records: Records, *, by_rank: bool = False, by_run: bool = False) -> Counted:
    """Return the same without fields, from envelopes alone: no payload is parsed, blocks of steps aside.

    Args:
        records: what to count; blocks count as the rows that they hold, whether it expands them or not.
        by_rank: as in `count_events`.
        by_run: as in `count_events`.
    """
    tallies = Tallies()
    for event in records.beside(tallies):
        tallies.add_event(event)
    found: Counted = {}
    for (origin, kind), tally in tallies.found.items():
        key = CountKey(kind.full_name, origin.run_id if by_run else None, origin.rank if by_rank else None)
        statistics = found.setdefault(key, TypeStatistics(kind.name, kind.full_name))
        statistics.add_envelopes(tally.events, tally.bytes, tally.first_time, tally.last_time)
    return _in_order(found)


def _in_order(found: Counted) -> Counted:
    runs = {run_id: at for at, run_id in enumerate(dict.fromkeys(key.run_id for key in found))}

    def order(item: tuple[CountKey, TypeStatistics]) -> tuple[object, ...]:
        key, statistics = item
        return runs[key.run_id], -statistics.bytes, -statistics.events, statistics.name

    return dict(sorted(found.items(), key=order))


def flatten(data: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the single values in the data of an event with their names: "heads.entropy" for parts of messages and maps.

    Args:
        data: payload and context, or a part of them.
        prefix: what to put before each name.
    """
    for name, value in data.items():
        key: Any = name
        if isinstance(key, bool):  # the key of a map, as JSON has it
            key = str(key).lower()
        for item in value if isinstance(value, list) else (value,):
            if isinstance(item, dict):
                yield from flatten(item, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", item


def _sizes(event: Event) -> dict[str, int]:
    if isinstance(event, RowEvent):  # it travelled by column
        return {}
    try:
        return field_sizes(event.message)
    except CorruptRecordError:
        return {}


# --- bytes by field, https://protobuf.dev/programming-guides/encoding/ ------------------------------------------------


def field_sizes(message: Message) -> dict[str, int]:
    """Return the bytes of each set field of `message`, tags and lengths included; unknown fields are not counted."""
    return {field.name: _field_size(field, value) for field, value in message.ListFields()}


def _field_size(field: F, value: Any) -> int:
    tag = varint_size(field.number << 3)
    if is_map(field) and field.message_type is not None:
        fields = field.message_type.fields_by_name
        key, item = _sizer(fields["key"]), _sizer(fields["value"])
        return sum(tag + _length_prefixed(2 + key(one) + item(value[one])) for one in value)
    size = _sizer(field)
    if not is_repeated(field):
        return tag + size(value)
    if field.is_packed:
        return tag + _length_prefixed(_total(field, value, size))
    return len(value) * tag + sum(map(size, value))


def _total(field: F, values: Sequence[Any], size: Callable[[Any], int]) -> int:
    fixed = _FIXED.get(field.type)
    return fixed * len(values) if fixed is not None else sum(map(size, values))


def _sizer(field: F) -> Callable[[Any], int]:  # noqa: PLR0911 - one return per kind of encoding
    """Return what gives the bytes of one value of `field`, its tag aside."""
    if field.type in _FIXED:
        fixed = _FIXED[field.type]
        return lambda _: fixed
    if field.type in (F.TYPE_SINT32, F.TYPE_SINT64):
        return lambda value: varint_size(value << 1 if value >= 0 else ~(value << 1))
    if field.type == F.TYPE_STRING:
        return lambda value: _length_prefixed(len(value.encode()))
    if field.type == F.TYPE_BYTES:
        return lambda value: _length_prefixed(len(value))
    if field.type == F.TYPE_MESSAGE:
        return lambda value: _length_prefixed(value.ByteSize())
    if field.type == F.TYPE_GROUP:
        end = varint_size(field.number << 3)
        return lambda value: value.ByteSize() + end
    return varint_size


def _length_prefixed(size: int) -> int:
    return varint_size(size) + size
