"""Numpy's side of the rules of `forms`: facts of arrays, and their one form inside a bank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from esper_telemetry.counters.forms import Facts, Given, is_one_hot
from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from esper_telemetry.counters.spec import CounterSpec

_KINDS = {"b": "bool", "i": "int", "u": "int", "f": "float"}


def facts_of(what: str, value: ArrayLike) -> Facts:
    """Return the facts of anything that numpy makes an array of.

    Raises:
        CounterError: it makes none.
    """
    if type(value).__module__.partition(".")[0] == "torch":
        raise CounterError(f"{what}: got a {type(value).__name__}; give an array, or use DeviceCounters for tensors")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise CounterError(f"{what}: got a {type(value).__name__}, of which numpy makes no array: {error}") from None
    return Facts(_KINDS.get(array.dtype.kind, "other"), str(array.dtype), array.shape)


def given_of(what: str, part: ArrayLike | Mapping[str, ArrayLike] | None) -> Given | None:
    """Return the facts of actions or masks; None where they were not given."""
    if part is None:
        return None
    if isinstance(part, Mapping):
        return {head: facts_of(f"{what} of head {head!r}", one) for head, one in part.items()}
    return facts_of(f"{what} (packed)", part)


def rows_of(part: Any) -> int:
    """Return how many rows something that does not fit seems to have."""
    first = next(iter(part.values()), None) if isinstance(part, Mapping) else part
    try:
        return max(1, len(first))  # type: ignore[arg-type]  # what has no length is caught
    except TypeError:
        return 1


def index_columns(spec: CounterSpec, part: ArrayLike | Mapping[str, ArrayLike]) -> NDArray[np.int64]:
    """Return the numbers of the options chosen, from 0 in each head: [rows, H]; another number is no option."""
    sizes = [len(options) for options in spec.heads.values()]
    if isinstance(part, Mapping):
        columns = [np.asarray(part[head]) for head in spec.heads]
    else:
        packed = np.asarray(part)
        one_hot = packed.ndim > 1 and packed.shape[1] == sum(sizes) > len(sizes)
        packed = packed[:, None] if packed.ndim == 1 else packed
        columns = np.split(packed, np.cumsum(sizes)[:-1], axis=1) if one_hot else list(packed.T)
    firsts = [spec.first.get(head, 0) for head in spec.heads]
    numbers = [_numbers(*each) for each in zip(columns, sizes, firsts, strict=True)]
    return np.stack(numbers, axis=1) if numbers else np.zeros((0, 0), dtype=np.int64)


def _numbers(column: NDArray[Any], options: int, first: int) -> NDArray[np.int64]:
    if is_one_hot(Facts("", "", column.shape), options):
        chosen = column != 0
        return np.where(chosen.sum(1) == 1, chosen.argmax(1), -1)
    if column.dtype == np.uint64:  # what is over the range of int64 is no option
        column = np.minimum(column, np.iinfo(np.int64).max)
    return column.reshape(-1).astype(np.int64) - first


def mask_columns(spec: CounterSpec, part: ArrayLike | Mapping[str, ArrayLike]) -> NDArray[np.bool_]:
    """Return the masks as a new bool array [rows, S]."""
    if isinstance(part, Mapping):
        packed = np.concatenate([np.asarray(part[head]) for head in spec.heads], axis=1)
    else:
        packed = np.asarray(part)
        packed = packed.reshape(len(packed), -1)
    return packed.copy() if packed.dtype == np.bool_ else packed == 1


def moments_of(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[int, int, list[float]]:
    """Return how many values count, how many of them are finite, and (weight, sum, squares, min, max) of these."""
    used = weights != 0.0
    finite = used & np.isfinite(values)
    some, weight = values[finite], weights[finite]
    total_weight = float(weight.sum())
    if not len(some):
        return int(used.sum()), 0, [0.0, 0.0, 0.0, np.inf, -np.inf]
    with np.errstate(all="ignore"):
        total = float((some * weight).sum())
        apart = some - total / total_weight
        squares = float((apart * apart * weight).sum())
    return int(used.sum()), len(some), [total_weight, total, squares, float(some.min()), float(some.max())]
