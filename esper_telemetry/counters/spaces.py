"""From an action space of gymnasium to heads: read by its shape and name, gymnasium itself is not imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from esper_telemetry.counters.spec import Options


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
