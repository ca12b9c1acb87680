"""The guard: what of a caller's values may be looked at, and as what.

protobuf calls `__float__` or `__index__` on whatever it is given, and on a device tensor that is a silent host
sync. So values are looked at by type first: plain ones pass untouched, what lives on the host and has one plain
meaning is converted (numpy scalars, members of enums, fractions, paths), tensors of any device (so that code
behaves on a laptop as on a GPU) and everything else are refused, unread, by a reason that is true.
What fits which field is in fields.py.
"""

from __future__ import annotations

import enum
import numbers
from collections.abc import Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any

from google.protobuf.message import Message

from esper_telemetry.errors import SchemaError
from esper_telemetry.schema.misfit import is_misfit
from esper_telemetry.schema.shown import type_name

# Types that cannot reach a device; the hot path tests membership only.
SCALAR_TYPES = frozenset({int, float, str, bool, bytes, type(None)})

# What arrays of every framework have, by the protocols they share with each other.
_OF_ARRAYS = ("__array__", "__array_interface__", "__cuda_array_interface__", "__dlpack__")
_TEXTS = (str, bytes, bytearray, memoryview)


def plain_value(place: str, value: Any) -> Any:
    """Return `value` as plain Python values, containers of such values included, without touching a device.

    Args:
        place: what was given the value, for the error.
        value: what the caller gave.

    Raises:
        SchemaError: it is a tensor, a device array or of another type that no field can hold.
    """
    if type(value) in SCALAR_TYPES or isinstance(value, Message):
        return value
    if isinstance(value, Mapping):
        return {plain_value(place, key): plain_value(place, item) for key, item in value.items()}
    items = list_items(value)
    if items is None:
        return plain_scalar(place, value)
    return items if SCALAR_TYPES.issuperset(map(type, items)) else [plain_value(place, item) for item in items]


def plain_scalar(place: str, value: Any) -> Any:  # noqa: PLR0911 - one return per kind of value
    """Return one value as None, a bool, an int, a float, a str or bytes (or a subclass of these).

    A numpy array of exactly one element is that element: it is on the host, and reading it waits for nothing. A
    tensor is refused whatever its device.

    Raises:
        SchemaError: as `plain_value`, and for an array of another size.
    """
    if type(value) in SCALAR_TYPES:
        return value
    if isinstance(value, enum.Enum):
        return plain_scalar(place, value.value)
    if is_numpy(value):
        return _of_numpy(place, value)
    if isinstance(value, (int, float, str, bytes)):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, PurePath) or _names_a_torch_thing(value):
        return str(value)  # a path, torch.device, torch.dtype
    if isinstance(value, numbers.Real):
        return _of_fraction(place, value)
    raise _refusal(place, value)


def list_items(value: Any) -> list[Any] | None:
    """Return the items of what has the meaning of a list; None of everything else.

    A text is no list of its characters, and an object that can be iterated is no list unless its type is one: iterating
    a tensor would read it.
    """
    if is_numpy(value):
        return list(value.tolist()) if getattr(value, "ndim", 0) else None
    if isinstance(value, (Sequence, AbstractSet, ValuesView)) and not isinstance(value, _TEXTS):
        return value if type(value) is list else list(value)
    return None


def is_numpy(value: Any) -> bool:
    """Tell numpy's own scalars and arrays, which are on the host; numpy itself is not imported for that."""
    return type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist")


def _of_numpy(place: str, value: Any) -> Any:
    if value.size != 1:
        raise SchemaError(
            f"{place} takes one value and was given a numpy array of shape {value.shape}: pass one element of it,"
            " or what it comes to, such as float(values.mean())",
            about=f"{place}: shape",
        )
    plain = value.tolist()  # unlike item(), it returns None for what is masked
    for _ in range(value.ndim):
        plain = plain[0]
    return plain if type(plain) in SCALAR_TYPES else _of_wide_numpy(place, plain)


def _of_wide_numpy(place: str, value: Any) -> Any:
    """Return an element that has no type of its own in Python: a long double is rounded, an object looked at."""
    if is_numpy(value) and getattr(value.dtype, "kind", "") == "f":
        return float(value)
    if is_numpy(value):
        raise _refusal(place, value)
    return plain_scalar(place, value)


def _of_fraction(place: str, value: numbers.Real) -> float:
    try:
        return float(value)
    except ArithmeticError as error:
        if not is_misfit(error):
            raise
        raise SchemaError(
            f"{place} was given a number that no double can hold: {error}", about=f"{place}: too large"
        ) from None


def _names_a_torch_thing(value: Any) -> bool:
    """Tell a torch.device or torch.dtype: things of torch that hold no data."""
    return type(value).__module__.partition(".")[0] == "torch" and not hasattr(type(value), "data_ptr")


def _refusal(place: str, value: Any) -> SchemaError:
    kind = type_name(type(value))
    about = f"{place}: {kind}"
    if any(hasattr(type(value), name) for name in _OF_ARRAYS):
        return SchemaError(
            f"{place} was given a {kind}: reading it could make the host wait for a device."
            " Pass a plain number (one you already have on the host), or count it with esper_telemetry.counters",
            about=about,
        )
    return SchemaError(
        f"{place} was given a {kind}, which no field can hold. Pass a plain value: a number, such as float(x)"
        " or int(x), a text, a list or a dict",
        about=about,
    )
