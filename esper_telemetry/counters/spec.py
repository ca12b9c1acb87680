"""What is counted: the heads of a policy and their options, scalars, histograms, and the rows of step detail.

A spec is checked once, when it is made, and never changes. It knows neither torch nor
numpy, so that a process which only reads snapshots can hold one. `from_space` reads heads from an
action space of gymnasium by its shape and names; gymnasium itself is not imported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.errors import CounterError
from esper_telemetry.schema import enum_labels, event_type, is_repeated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from google.protobuf.message import Message

Options: TypeAlias = "Sequence[str] | int | range"

_REALS = (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT)
_CHOICES = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_ENUM)
# Indices of options travel as int16 at most.
MAX_OPTIONS = 32_767


@dataclass(frozen=True, slots=True)
class StepRow:
    """Which message a row of step detail is, and which of its fields each column fills.

    What is not named stays unset in the rows.

    Args:
        row_type: the event class an eager emitter would emit once per environment and step.
        actions: head → string or enum field that takes the option chosen. For an enum, the options of the
            head must be names of its values (as shown to people, or in full).
        masked: head → bool field: at least one option of the head was masked.
        forced: head → bool field: exactly one option was left.
        success: bool field: the action took effect.
        scalars: name given in `record_step(scalars=...)` → double or float field.

    Raises:
        CounterError: `row_type` is no event class.
    """

    row_type: type[Message]
    actions: Mapping[str, str] = field(default_factory=dict)
    masked: Mapping[str, str] = field(default_factory=dict)
    forced: Mapping[str, str] = field(default_factory=dict)
    success: str = ""
    scalars: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            event_type(self.row_type)
        except Exception as error:
            raise CounterError(f"StepRow: row_type {self.row_type!r} is no event class: {error}") from error

    def message_field(self, name: str, types: tuple[int, ...]) -> Any:
        """Return the descriptor of the field `name`, whose type must be one of `types`."""
        message: Any = self.row_type.DESCRIPTOR
        found = message.fields_by_name.get(name)
        if found is None or is_repeated(found) or found.type not in types:
            kinds = "double or float" if types == _REALS else "string or enum" if types == _CHOICES else "bool"
            fits = [other.name for other in message.fields if other.type in types and not is_repeated(other)]
            raise CounterError(
                f"StepRow: {message.full_name} has no single {kinds} field {name!r}; those that fit: {', '.join(fits)}"
            )
        return found

    def check(self, heads: Mapping[str, tuple[str, ...]]) -> None:
        """Raise CounterError unless every column has a head and a field that fits it."""
        for part in (self.actions, self.masked, self.forced):
            for head in part:
                _known(f"StepRow of {self.row_type.DESCRIPTOR.full_name}", head, heads)
        for head, name in self.actions.items():
            self.option_numbers(name, heads[head])
        flags = (*self.masked.values(), *self.forced.values(), *filter(None, [self.success]))
        for name in flags:
            self.message_field(name, (FieldDescriptor.TYPE_BOOL,))
        for name in self.scalars.values():
            self.message_field(name, _REALS)
        named = [*self.actions.values(), *flags, *self.scalars.values()]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise CounterError(f"StepRow: field {twice[0]!r} is filled by two columns; give each its own")

    def option_numbers(self, name: str, options: Sequence[str]) -> tuple[int, ...]:
        """Return the enum number of each option for the field `name`; empty for a string field."""
        enum = self.message_field(name, _CHOICES).enum_type
        if enum is None:
            return ()
        numbers = {value.name: value.number for value in enum.values}
        numbers |= {label: number for number, label in enum_labels(enum).items()}
        missing = [option for option in options if option not in numbers]
        if missing:
            shown = ", ".join(enum_labels(enum).values())
            raise CounterError(f"StepRow: option {missing[0]!r} is no value of {enum.full_name}; its values: {shown}")
        return tuple(numbers[option] for option in options)


def _known(where: str, head: str, heads: Mapping[str, tuple[str, ...]]) -> None:
    if head not in heads:
        raise CounterError(f"{where}: head {head!r} is unknown; the heads are {', '.join(heads)}")


def _options(head: str, options: Options) -> tuple[str, ...]:
    numbers = range(options) if isinstance(options, int) else options
    names = tuple(map(str, numbers)) if isinstance(numbers, range) else tuple(numbers)
    steps = options.step if isinstance(options, range) else 1
    if isinstance(options, str) or steps != 1 or not names or not all(isinstance(name, str) for name in names):
        raise CounterError(f"head {head!r}: options are {options!r}; give their names in order, or how many there are")
    if len(set(names)) != len(names):
        raise CounterError(f"head {head!r}: two options have one name in {names!r}; names must differ")
    if len(names) > MAX_OPTIONS:
        raise CounterError(f"head {head!r}: {len(names):,} options are over the limit of {MAX_OPTIONS:,}")
    return names


def _edges(name: str, edges: Sequence[float]) -> tuple[float, ...]:
    values = tuple(float(edge) for edge in edges)
    rising = all(low < high for low, high in pairwise(values))
    if not values or not rising or not all(map(math.isfinite, values)):
        raise CounterError(f"histogram {name!r}: edges are {values!r}; give finite numbers, each over the one before")
    return values


class CounterSpec:
    """What a bank of counters counts.

    Args:
        heads: head → names of its options in order, or how many there are, or the range of their numbers where
            they do not begin at 0 (`from_space` gives these). In packed input the heads and their options are
            in this order.
        scalars: names of values to summarise (count, sum, min, max, non-finite).
        histograms: name → rising edges; bucket i holds edges[i-1] <= value < edges[i].
        relevant: head → (deciding head, its options for which the head matters). A head without
            an entry always matters.
        deciding_head: the head whose `ActionDistribution` comes first; the first one by default.
        row: the message of which a row of per-step detail is one; needed for `DeviceCounters(steps=True)` only.

    Attributes:
        heads: head → names of its options.
        first: head → number of its first option, for those that do not begin at 0.
        option_offsets: head → position of its first option among all.
        option_count: S, the options of all heads together.

    Raises:
        CounterError: a name is unknown or used twice, or edges do not rise.
    """

    def __init__(
        self,
        heads: Mapping[str, Options],
        *,
        scalars: Sequence[str] = (),
        histograms: Mapping[str, Sequence[float]] | None = None,
        relevant: Mapping[str, tuple[str, Sequence[str]]] | None = None,
        deciding_head: str | None = None,
        row: StepRow | None = None,
    ) -> None:
        self.heads = {str(head): _options(head, options) for head, options in heads.items()}
        self.first = {
            str(head): options.start for head, options in heads.items() if isinstance(options, range) and options.start
        }
        self.scalars = tuple(scalars)
        self.histograms = {name: _edges(name, edges) for name, edges in (histograms or {}).items()}
        if not (self.heads or self.scalars or self.histograms):
            raise CounterError("CounterSpec: nothing to count; name at least one head, scalar or histogram")
        if isinstance(scalars, str) or len(set(self.scalars)) != len(self.scalars):
            raise CounterError(f"CounterSpec: scalars are {scalars!r}; give a tuple of different names")
        self.relevant = {head: self._rule(head, *rule) for head, rule in (relevant or {}).items()}
        self.deciding_head = deciding_head if deciding_head is not None else next(iter(self.heads), "")
        if self.heads or deciding_head is not None:
            _known("deciding_head", self.deciding_head, self.heads)
        self.row = row
        if row is not None:
            row.check(self.heads)
        self.option_offsets: dict[str, int] = {}
        self.option_count = 0
        for head, options in self.heads.items():
            self.option_offsets[head] = self.option_count
            self.option_count += len(options)

    def _rule(self, head: str, decider: str, options: Sequence[str]) -> tuple[str, tuple[int, ...]]:
        _known("relevant", head, self.heads)
        _known(f"relevant[{head!r}]", decider, self.heads)
        names = [options] if isinstance(options, str) else list(options)
        unknown = [option for option in names if option not in self.heads[decider]]
        if unknown:
            raise CounterError(
                f"relevant[{head!r}]: {unknown[0]!r} is no option of head {decider!r};"
                f" they are {', '.join(self.heads[decider])}"
            )
        return decider, tuple(sorted({self.heads[decider].index(option) for option in names}))

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names that `record_scalar` takes: scalars, then histograms that are no scalars."""
        return tuple(dict.fromkeys((*self.scalars, *self.histograms)))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{head}: {len(options)}" for head, options in self.heads.items())
        return f"CounterSpec({{{sizes}}}, scalars={self.scalars}, histograms={tuple(self.histograms)})"


def from_space(space: Any, *, name: str = "action") -> Mapping[str, Options]:
    """Return the heads of a policy for an action space: `CounterSpec(from_space(env.single_action_space))`.

    Discrete is one head called `name`; MultiDiscrete and MultiBinary are a head for each entry, "name_0",
    "name_1" and so on in the order of packed actions; Dict and Tuple are the heads of their parts in the order
    that the space has them, called by key or position, joined with dots where they are nested. Options that
    begin at another number than 0 keep their numbers.

    Args:
        space: a space of gymnasium (or gym): that of one environment, not of a batch of them.
        name: of the head where the space gives none.

    Raises:
        CounterError: the space, or a part of it, has no countable options.
    """
    return dict(_heads(space, name, named=False))


def _heads(space: Any, name: str, *, named: bool) -> Iterator[tuple[str, Options]]:
    kind = next((base.__name__ for base in type(space).__mro__ if base.__name__ in _KINDS), "")
    if not kind:
        raise CounterError(
            f"from_space: {name!r} is {str(space)!r:.80}; heads can be made of Discrete, MultiDiscrete, MultiBinary,"
            " and Dict or Tuple of them"
        )
    yield from _KINDS[kind](space, name, named)


def _discrete(space: Any, name: str, _named: bool) -> Iterator[tuple[str, Options]]:
    start = int(getattr(space, "start", 0))
    yield name, range(start, start + int(space.n))


def _multi_discrete(space: Any, name: str, _named: bool) -> Iterator[tuple[str, Options]]:
    sizes = [int(size) for size in space.nvec.reshape(-1)]
    starts = getattr(space, "start", None)
    firsts = [0] * len(sizes) if starts is None else [int(start) for start in starts.reshape(-1)]
    for i, (size, start) in enumerate(zip(sizes, firsts, strict=True)):
        yield f"{name}_{i}", range(start, start + size)


def _multi_binary(space: Any, name: str, _named: bool) -> Iterator[tuple[str, Options]]:
    number = 1
    for size in space.shape:
        number *= int(size)
    for i in range(number):
        yield f"{name}_{i}", range(2)


def _dict(space: Any, name: str, named: bool) -> Iterator[tuple[str, Options]]:
    for key, part in space.spaces.items():
        yield from _heads(part, f"{name}.{key}" if named else str(key), named=True)


def _tuple(space: Any, name: str, named: bool) -> Iterator[tuple[str, Options]]:
    for i, part in enumerate(space.spaces):
        yield from _heads(part, f"{name}.{i}" if named else str(i), named=True)


_KINDS = {
    "Discrete": _discrete,
    "MultiDiscrete": _multi_discrete,
    "MultiBinary": _multi_binary,
    "Dict": _dict,
    "Tuple": _tuple,
}
