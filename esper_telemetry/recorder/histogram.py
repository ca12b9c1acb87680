"""`run.log_histogram(...)`: raw values on the host become one HistogramSummarized.

Bins, unless the caller has some: equal widths between the smallest and the largest finite value, and the last edge is
the next number above the largest, so that every finite value is inside, minus infinity alone below the first edge and
plus infinity alone above the last. Time is bounded: of long input every n-th value is looked at, and the event states
that. A tensor is never read; numpy is used for numpy arrays, and is never imported here.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.texts import plain_name
from esper_telemetry.schema import event_type
from esper_telemetry.schema.guard import plain_value
from esper_telemetry.schema.misfit import as_refusal
from esper_telemetry.v1.training_pb2 import HistogramSummarized

if TYPE_CHECKING:
    from esper_telemetry.recorder.core import Core
    from esper_telemetry.recorder.emitter import Emitter

# Values that are looked at: some 10 ms either way, of which numpy's are spent without the interpreter's lock.
_MOST_IN_LIST = 1 << 14
_MOST_IN_ARRAY = 1 << 18
_MOST_BINS = 4096
_ARRAY_KINDS = "fiub"


def log_histogram(core: Core, emitter: Emitter, name: Any, values: Any, bins: Any) -> None:
    """Record a histogram.

    Args:
        core: of the run; it counts what is refused.
        emitter: has the context.
        name: its name.
        values: numpy array or sequence of numbers.
        bins: number of bins, or rising edges.

    Raises:
        SchemaError: only with strict=True, when an argument cannot be used.
    """
    if not core.wants(event_type(HistogramSummarized)):
        return
    try:
        fields = {"name": plain_name("a histogram", name), **summarize(values, bins)}
    except Exception as error:  # noqa: BLE001 - what is no misfit is raised again
        core.reject(HistogramSummarized.DESCRIPTOR.full_name, as_refusal(error))
    else:
        emitter.emit(HistogramSummarized, **fields)


def summarize(values: Any, bins: Any) -> dict[str, Any]:
    """Return the fields of a HistogramSummarized but for its name.

    Raises:
        SchemaError: `values` holds something else than numbers, or `bins` is neither a number of bins nor edges.
    """
    count, stride, sample = _sample(values)
    moments = sample.moments()
    edges = _edges(bins, moments.least, moments.most)
    return {
        "edges": edges,
        "counts": sample.counts(edges),
        "nan": sample.nan,
        "count": count,
        "min": moments.least,
        "max": moments.most,
        "mean": moments.mean,
        "std": moments.std,
        "stride": stride if stride > 1 else None,
    }


class _Moments(NamedTuple):
    """Of the finite values; None where there is none, or no double holds it."""

    least: float | None
    most: float | None
    mean: float | None
    std: float | None


class _List:
    """Values of a sequence."""

    def __init__(self, values: list[float]) -> None:
        self._ordered = sorted(value for value in values if value == value)  # noqa: PLR0124 - NaN alone differs from itself
        self.nan = len(values) - len(self._ordered)

    def moments(self) -> _Moments:
        finite = [value for value in self._ordered if math.isfinite(value)]
        if not finite:
            return _Moments(None, None, None, None)
        try:
            mean = math.fsum(finite) / len(finite)
            std = math.sqrt(math.fsum((value - mean) ** 2 for value in finite) / len(finite))
        except OverflowError:
            return _Moments(finite[0], finite[-1], None, None)
        return _Moments(finite[0], finite[-1], mean, std)

    def counts(self, edges: list[float]) -> list[int]:
        below = [0, *(bisect_left(self._ordered, edge) for edge in edges)]
        return [after - before for before, after in zip(below, [*below[1:], len(self._ordered)], strict=True)]


class _Array:
    """Values of a numpy array, as doubles."""

    def __init__(self, numpy: Any, values: Any) -> None:
        self._numpy = numpy
        known = values[~numpy.isnan(values)]
        self.nan = len(values) - len(known)
        self._known = known

    def moments(self) -> _Moments:
        numpy = self._numpy
        finite = self._known[numpy.isfinite(self._known)]
        if not len(finite):
            return _Moments(None, None, None, None)
        with numpy.errstate(all="ignore"):
            mean, std = float(finite.mean()), float(finite.std())
        measured = (one if math.isfinite(one) else None for one in (mean, std))
        return _Moments(float(finite.min()), float(finite.max()), *measured)

    def counts(self, edges: list[float]) -> list[int]:
        numpy = self._numpy
        places = numpy.searchsorted(numpy.asarray(edges, dtype=float), self._known, side="right")
        counts: list[int] = numpy.bincount(places, minlength=len(edges) + 1).tolist()
        return counts


def _sample(values: Any) -> tuple[int, int, _List | _Array]:
    """Return how many values were given, of how many one is looked at, and those."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(values, numpy.ndarray):
        if values.dtype.kind not in _ARRAY_KINDS or hasattr(values, "mask"):
            raise SchemaError(
                f"a histogram was given a {type(values).__qualname__} of {values.dtype}; pass plain numbers"
            )
        stride = _stride(values.size, _MOST_IN_ARRAY)
        flat = values.reshape(-1) if values.flags.c_contiguous else values.flat  # no copy of the whole
        return values.size, stride, _Array(numpy, numpy.asarray(flat[::stride], dtype=float))
    if not isinstance(values, Sequence) or isinstance(values, (str, bytes, bytearray, memoryview)):
        plain_value("values", values)  # refuses a tensor, and gives the reason
        raise SchemaError(f"a histogram was given a {type(values).__qualname__}; pass a list or a numpy array")
    stride = _stride(len(values), _MOST_IN_LIST)
    return len(values), stride, _List([_number(value) for value in values[::stride]])


def _stride(count: int, most: int) -> int:
    """Return an odd stride: rows of a matrix have an even length most often, and all their columns are to be seen."""
    return 1 if count <= most else -(-count // most) | 1


def _number(value: Any) -> float:
    plain = value if type(value) is float else plain_value("values", value)
    if not isinstance(plain, (int, float)):
        raise SchemaError(f"a histogram was given a {type(value).__qualname__} among its values; pass numbers only")
    try:
        return float(plain)
    except OverflowError:
        raise SchemaError("a histogram was given an integer that no double can hold") from None


def _edges(bins: Any, least: float | None, most: float | None) -> list[float]:
    plain = plain_value("bins", bins)
    if isinstance(plain, list):
        edges = [_number(edge) for edge in plain]
        if not edges or len(edges) > _MOST_BINS or not all(map(_rises, edges, [*edges[1:], math.inf])):
            raise SchemaError(f"bins is no list of 1 to {_MOST_BINS} finite edges that rise")
        return edges
    if type(plain) is not int or not 1 <= plain <= _MOST_BINS:
        raise SchemaError(f"bins is {plain!r}; use a number of bins from 1 to {_MOST_BINS}, or a list of rising edges")
    if least is None or most is None:
        return []
    inner = (least * (1 - part / plain) + most * (part / plain) for part in range(1, plain))
    # A set, because between two numbers that are close there may be fewer than `plain` others.
    return sorted({least, *(edge for edge in inner if least < edge < most), math.nextafter(most, math.inf)})


def _rises(edge: float, following: float) -> bool:
    return math.isfinite(edge) and edge < following
