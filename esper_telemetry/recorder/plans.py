"""What emitting costs once and not for every event: by context, by type and by the shape of a call.

An emitter has the plans of its context's shape, which all emitters with the same names of context share; these have a
plan for each type, and that one a kind for each shape of call that comes often. What no plan is known for leaves the
hot path of emitter.py, and so does what fits no kind. Threads may share all of it; plans are forgotten when the level
changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.schema.dictionary_column import MOST_VALUES, column_of
from esper_telemetry.schema.frame_builder import EventGroup
from esper_telemetry.schema.row_shape import plain_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from esper_telemetry.schema import EventType
    from esper_telemetry.schema.call_shapes import CallShapes
    from esper_telemetry.schema.row_columns import ColumnSource
    from esper_telemetry.schema.row_shape import RowShape
    from esper_telemetry.schema.value_checks import Join

    # A context: the one that it adds to, the bytes that all of it takes in memory, the names of its values, and these.
    # No dict, for a tuple with a dict in it is followed by the garbage collector for ever: there may be one for each
    # event that waits.
    Where = tuple[Any, ...]
    Step = tuple[Join, "ContextPlans"]

# Bytes of an entry in memory beside its row: five references, a time, a number of bytes; and of a context.
_ENTRY, _PAIR = 5 * 8 + 32 + 32, 56 + 32
# Bytes that an event takes about in a frame beside its fields, and a field of its context.
_ENVELOPE, _CONTEXT_FIELD = 8, 2


class EntryKind:
    """What entries of one type, context and shape of call have in common.

    Attributes:
        check: as of RowShape.
        limit: bytes in the buffer above which they are shed.
        urgent: written within 50 ms.
        held: bytes that an entry takes in memory, but for texts, payload and context.
        spare: how much more that is than what it takes in a frame, about.
        type_id: of the event type; 0 of what is no event.
        full_name: of the event type.
        shape: of the rows.
    """

    __slots__ = (
        "_sources", "check", "context_fields", "fields", "full_name", "held", "limit", "shape", "spare", "type_id",
        "urgent",
    )  # fmt: skip

    def __init__(self, plan: TypePlan, shape: RowShape) -> None:
        self.check: Any = shape.check
        self.limit = plan.limit
        self.urgent = plan.urgent
        self.type_id = plan.type_id
        self.full_name = plan.type.full_name
        self.shape = shape
        self.fields = shape.fields
        self._sources = _context_sources(plan.context, shape)
        self.context_fields = tuple(source.field for source, _ in self._sources)
        self.held = _ENTRY + shape.held
        self.spare = self.held - shape.in_frame - _ENVELOPE - _CONTEXT_FIELD * len(self._sources)

    def group(
        self,
        seqs: Sequence[int],
        times: Sequence[int],
        wheres: Sequence[Where],
        rows: Sequence[Any],
        *,
        pause: Callable[[], None] = lambda: None,
    ) -> EventGroup:
        """Return entries as events, for `build_frame`; `pause` lets others run."""
        context, columns = self._context(wheres, rows), self.shape.columns(rows, pause)
        return EventGroup(self.type_id, seqs, times, self.context_fields, context, self.fields, columns)

    def _context(self, wheres: Sequence[Where], rows: Sequence[Any]) -> list[Sequence[Any]]:
        """Return the columns of the context; of what all share, one value."""
        layer, indices = _distinct(wheres)
        below, _, names, *_ = layer[0]
        if [where for where in layer if where[0] is not below or where[2] != names]:
            layer = [flat(dict(sorted(whole_of(where).items())), 0) for where in layer]
            below, _, names, *_ = layer[0]
        shared = {} if below is None else whole_of(below)
        context: list[Sequence[Any]] = []
        for source, in_row in self._sources:
            if in_row:
                context.append(source.column(rows))
            elif source.name in names:
                place = _VALUES + names.index(source.name)
                values: Sequence[Any] = [where[place] for where in layer]
                if indices is not None:
                    values = column_of(values, indices)
                elif values.count(values[0]) == len(values):
                    values = values[:1]
                context.append(values)
            else:
                context.append([shared[source.name]])
        return context


def _distinct(wheres: Sequence[Where]) -> tuple[Sequence[Where], bytes | None]:
    """Return the few contexts that events have, and which one each has; all of them and None where they are many.

    One that is bound once is the same object for all its events.
    """
    if wheres[0] is wheres[-1] and wheres.count(wheres[0]) == len(wheres):
        return wheres[:1], bytes(len(wheres))
    ids = list(map(id, wheres))
    distinct = dict(zip(ids, wheres, strict=True))
    if len(distinct) > MOST_VALUES:
        return wheres, None
    places = {key: place for place, key in enumerate(distinct)}
    return list(distinct.values()), bytes([places[key] for key in ids])


def _context_sources(bound: RowShape, shape: RowShape) -> list[tuple[ColumnSource, bool]]:
    """Return the columns of the context, by number of field, and whether a column is in the rows or bound."""
    found = {source.name: (source, False) for source in bound.sources or () if source.name not in shape.unset}
    found |= {source.name: (source, True) for source in shape.context}
    return sorted(found.values(), key=lambda one: one[0].field.number)


class TypePlan:
    """How events of one type are emitted in contexts of one shape.

    Attributes:
        type: the event type.
        type_id: its id.
        limit: bytes in the buffer above which it is shed.
        urgent: written within 50 ms.
        context: shape of the contexts.
        calls: number of fields of a call → the kind that was last used with so many.
    """

    __slots__ = ("_kinds", "calls", "context", "limit", "type", "type_id", "urgent")

    def __init__(self, known: KnownType, context: RowShape) -> None:
        self.type, self.type_id, self.limit, _ = known
        self.urgent = known.type.urgent
        self.context = context
        self.calls: dict[int, EntryKind] = {}
        self._kinds: dict[RowShape, EntryKind] = {}

    def kind(self, shape: RowShape) -> EntryKind:
        """Return the kind of entries whose rows have a shape."""
        kind = self._kinds.get(shape)
        if kind is None:
            kind = self._kinds.setdefault(shape, EntryKind(self, shape))
        return kind

    def use(self, shape: RowShape) -> EntryKind:
        """Return the kind of calls of a shape; the hot path takes them from now on, unless they are urgent."""
        kind = self.kind(shape)
        if not self.urgent:
            self.calls[len(shape.names)] = kind
        return kind


class KnownType(NamedTuple):
    """What a run knows of an event type, whatever the context."""

    type: EventType
    type_id: int
    limit: int
    shapes: CallShapes


class ContextPlans:
    """What is known of contexts of one shape.

    Attributes:
        shape: of the contexts.
        held: bytes that such a context takes in memory, but for its texts.
        calls: event class → number of fields of a call → kind; None for a class that is filtered by its level.
        plans: event class → how it is emitted.
        steps: number of names that `bind` is given → what it did last with so many: what judges the values that are
            given and puts them on top of a context, and what is known of the whole one.
    """

    __slots__ = ("__weakref__", "calls", "held", "plans", "shape", "steps")

    def __init__(self, shape: RowShape) -> None:
        self.shape = shape
        self.held = _PAIR + shape.held
        self.calls: dict[Any, dict[int, EntryKind] | None] = {}
        self.plans: dict[Any, TypePlan] = {}
        self.steps: dict[int, Step] = {}

    def plan(self, known: KnownType, *, keep: bool) -> TypePlan:
        """Return how a type is emitted; what is kept is found by the hot path."""
        cls = known.type.cls
        plan = self.plans.get(cls)
        if plan is None:
            plan = TypePlan(known, self.shape)
            if keep:
                plan = self.plans.setdefault(cls, plan)
        if keep:
            self.calls[cls] = plan.calls
        return plan

    def forget(self) -> None:
        """Look at the level of each type anew."""
        self.calls.clear()


class _Nothing(dict[Any, Any]):
    """The calls of a run that is off."""

    def __missing__(self, event: Any) -> None:
        """Return that nothing is to be done."""


NO_CONTEXT = plain_shape((), ())
NOWHERE: Where = (None, 0, ())
"""No context; it takes no memory of its own."""
_VALUES = 3  # place of the first value in a context


def flat(values: Mapping[str, Any], held: int) -> Where:
    """Return a context that adds to none, and takes so many bytes in memory."""
    return (None, held, tuple(values), *values.values())


def whole_of(where: Where) -> dict[str, Any]:
    """Return all values of a context, those that it adds to included."""
    below, _, names, *values = where
    own = dict(zip(names, values, strict=True))
    return own if below is None else {**whole_of(below), **own}


OFF = ContextPlans(NO_CONTEXT)
OFF.calls = _Nothing()


class Entry(NamedTuple):
    """What a buffer is given of an event; the names are those of `Buffer.append`."""

    kind: EntryKind
    where: Where
    row: Any
    extra: int
