"""A configuration as people have it, as values that JSON knows: dicts with text keys, lists, texts, numbers, truth, None.

What is known by kind is converted (mappings, Namespace, dataclass, attrs, pydantic, OmegaConf, sets, paths, times,
numpy and torch scalars, small arrays, callables by name). What is not known is named by its type in angle brackets:
nothing's repr is taken, no memory address gets in, no generator is consumed and no device is read. An error costs the
value that raised it. Equal configurations give equal trees, in every process.

    Enum            its value if that is a text or number by inheritance (IntEnum, StrEnum), else "Color.RED"
    timedelta       seconds
    bytes           base64, as everywhere in a record
    NaN, infinities "NaN", "Infinity", "-Infinity"
    small array     lists; a large one, and one on a device, "<torch.Tensor float32[128,64]>"
    namedtuple      an object with its fields
    partial         an object with function, args and keywords
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import ipaddress
import json
import math
import os
import re
import types
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

from esper_telemetry.recorder.text import qualified_name, utf8_text

_MAX_DEPTH = 64
_MAX_VALUES = 250_000
_MAX_ITEMS = 1000  # of an array that is written out
_MAX_BYTES = 4096  # of bytes that are written out
_MAX_BITS = 4096  # of an integer: Python refuses to print long ones
_KEY_BYTES = 1024
SECRET = "<secret>"  # noqa: S105 - what a value that hides itself (pydantic's SecretStr) is replaced by

# Their text is their value.
_TEXTUAL = (
    decimal.Decimal, fractions.Fraction, complex, uuid.UUID, datetime.timezone, range, slice,
    ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network,
)  # fmt: skip
_NAMED = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodDescriptorType, types.MethodWrapperType,
    types.WrapperDescriptorType, types.ModuleType,
)  # fmt: skip
# Types of these packages that are scalars although nothing in the language says so: their text is their value.
_TEXTUAL_ELSEWHERE = {
    "numpy": frozenset({"datetime64", "timedelta64"}),
    "torch": frozenset({"dtype", "device", "memory_format", "layout"}),
    "zoneinfo": frozenset({"ZoneInfo"}),
}


class Odd(NamedTuple):
    """A value that was not taken as it is.

    Attributes:
        place: where it stands: "config.optim.betas[1]".
        what: what stands there instead.
    """

    place: str
    what: str


class PlainConfig:
    """One conversion.

    Attributes:
        odd: values that are not known, could not be read, or were too deep or too many.
    """

    def __init__(self) -> None:
        self.odd: list[Odd] = []
        self._above: set[int] = set()  # ids of the containers that a value stands in
        self._left = _MAX_VALUES

    def convert(self, value: Any, place: str) -> Any:
        """Return `value` as JSON knows it; never raises, but for what arrives from outside (a signal's exception).

        Args:
            value: anything.
            place: its name in messages.
        """
        self._left -= 1
        if self._left < 0:
            return self._mark(place, "<cut: too many values>", say=self._left == -1)
        try:
            return self._convert(value, place)
        except Exception as error:  # noqa: BLE001 - whatever a value does when it is read costs this value alone
            return self._mark(place, f"<unreadable: {qualified_name(type(error))}>")

    def _convert(self, value: Any, place: str) -> Any:
        scalar = plain_scalar(value)
        if scalar is not _NOT_PLAIN:
            return scalar
        if id(value) in self._above:
            return self._mark(place, "<contains itself>")
        if len(self._above) >= _MAX_DEPTH:
            return self._mark(place, "<cut: too deep>")
        self._above.add(id(value))
        try:
            return self._convert_container(value, place)
        finally:
            self._above.discard(id(value))

    def _convert_container(self, value: Any, place: str) -> Any:
        fields = _fields_of(value)
        if fields is not None:
            return self._object(fields, place)
        if isinstance(value, (list, tuple, deque)) or (
            isinstance(value, Sequence) and not isinstance(value, memoryview)
        ):
            return [self.convert(item, f"{place}[{index}]") for index, item in enumerate(self._within(value))]
        if isinstance(value, Set):
            return sorted((self.convert(item, f"{place}[]") for item in self._within(value)), key=canonical_json)
        listed = _array_items(value)
        if listed is not None:
            return self.convert(listed, place)
        return self._mark(place, _shape_of(value) or f"<{qualified_name(type(value))}>")

    def _within(self, values: Any) -> Iterator[Any]:
        """Yield values while they are not too many."""
        for value in values:
            yield value
            if self._left < 0:
                return

    def _object(self, fields: Iterator[tuple[Any, Callable[[], Any]]], place: str) -> dict[str, Any]:
        """Return names and values as a dict; a key that is no text gives way to a text that looks the same."""
        plain: dict[str, Any] = {}
        later = []
        for key, get in self._within(fields):
            if isinstance(key, str) and not isinstance(key, enum.Enum):
                name = _key_text(key)
                plain[name] = self._get(get, f"{place}.{name}")
            else:
                later.append((self._key(key), key, get))
        for name, key, get in later:
            unique = name if name not in plain else f"{name} ({type(key).__name__})"
            plain[unique] = self._get(get, f"{place}.{unique}")
        return plain

    def _get(self, get: Callable[[], Any], place: str) -> Any:
        try:
            value = get()
        except Exception as error:  # noqa: BLE001 - a missing value of OmegaConf, a property that raises
            return self._mark(place, f"<unreadable: {qualified_name(type(error))}>")
        return self.convert(value, place)

    def _key(self, key: Any) -> str:
        plain = self.convert(key, "a key")
        return _key_text(plain if isinstance(plain, str) else canonical_json(plain))

    def _mark(self, place: str, what: str, *, say: bool = True) -> str:
        if say:
            self.odd.append(Odd(place, what))
        return what


def canonical_json(value: Any) -> str:
    """Return a plain value as JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _key_text(text: str) -> str:
    return utf8_text(text, _KEY_BYTES)


_NOT_PLAIN = object()


def plain_scalar(value: Any) -> Any:  # noqa: PLR0911 - one return per kind of value
    """Return a value that holds no others as JSON knows it, or `_NOT_PLAIN`."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return utf8_text(value)
    if isinstance(value, int):
        number = int.__index__(value)
        return number if number.bit_length() <= _MAX_BITS else f"<int of {number.bit_length()} bits>"
    if isinstance(value, float):
        return _number(float.__float__(value))
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.value if value.name is None else value.name}"
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (datetime.date, datetime.time)):  # datetime is a date
        return value.isoformat()
    if isinstance(value, _TEXTUAL):
        return utf8_text(str(value))
    if isinstance(value, (bytes, bytearray)):
        return _bytes(value)
    if isinstance(value, re.Pattern):
        return plain_scalar(value.pattern)
    if isinstance(value, os.PathLike):
        return plain_scalar(os.fspath(value))
    return _scalar_of_others(value)


def _scalar_of_others(value: Any) -> Any:
    """Return scalars of numpy and torch, names, and what hides itself; known by their types, for nothing is imported."""
    cls = type(value)
    package = str(cls.__module__).partition(".")[0]
    if cls.__name__ in _TEXTUAL_ELSEWHERE.get(package, ()) or cls.__module__ == "numpy.dtypes":
        return str(value)
    if package == "numpy" and hasattr(cls, "item") and not hasattr(cls, "__len__"):
        item = value.item()
        return plain_scalar(item) if type(item) is not cls else str(value)  # longdouble knows no other form
    if any(base.__module__ == "pydantic.types" and hasattr(base, "get_secret_value") for base in cls.__mro__):
        return SECRET
    return _name_of(value)


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _bytes(value: bytes | bytearray) -> str:
    if len(value) <= _MAX_BYTES:
        return base64.b64encode(value).decode()
    return f"<{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:16]}>"


def _name_of(value: Any) -> Any:
    """Return the name of a function, class or module; a cached or compiled function has one as well."""
    if isinstance(value, type):
        return qualified_name(value)
    wrapped = callable(value) and isinstance(getattr(value, "__wrapped__", None), types.FunctionType)
    if not isinstance(value, _NAMED) and not wrapped and not _is_ufunc(value):
        return _NOT_PLAIN
    names = (getattr(value, "__module__", None), getattr(value, "__qualname__", None) or value.__name__)
    return utf8_text(".".join(name for name in names if isinstance(name, str)))


def _is_ufunc(value: Any) -> bool:
    return str(type(value).__module__).partition(".")[0] == "numpy" and hasattr(value, "nin")


def _fields_of(value: Any) -> Iterator[tuple[Any, Callable[[], Any]]] | None:
    """Return names and the means to get their values, or None if `value` has no fields that are known."""
    cls = type(value)
    if isinstance(value, tuple) and isinstance(getattr(cls, "_fields", None), tuple):
        return _attributes(value, cls._fields)
    if isinstance(value, functools.partial):
        return _attributes(value, ("func", "args", "keywords"))
    if isinstance(value, Mapping) or _is_mapping_like(cls):
        return ((key, functools.partial(value.__getitem__, key)) for key in list(value))
    if dataclasses.is_dataclass(value):
        return _attributes(value, [field.name for field in dataclasses.fields(value)])
    if isinstance(value, types.SimpleNamespace) or any(base.__name__ == "Namespace" for base in cls.__mro__):
        return _attributes(value, list(vars(value)))  # argparse.Namespace, which is not imported for this
    if hasattr(cls, "__attrs_attrs__"):
        return _attributes(value, [field.name for field in cls.__attrs_attrs__])
    for known in ("__pydantic_fields__", "model_fields", "__fields__"):
        if isinstance(getattr(cls, known, None), Mapping):
            extra = getattr(value, "__pydantic_extra__", None) or {}
            return _attributes(value, [*getattr(cls, known), *extra])
    return None


def _attributes(value: Any, names: Sequence[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    return ((name, functools.partial(getattr, value, name)) for name in names)


def _is_mapping_like(cls: type) -> bool:
    """Tell a mapping that is not registered as one (ml_collections.ConfigDict) from tables and containers of arrays."""
    package = str(cls.__module__).partition(".")[0]
    return package not in _ARRAY_PACKAGES and all(
        hasattr(cls, name) for name in ("keys", "items", "__getitem__", "__iter__")
    )


_ARRAY_PACKAGES = frozenset(
    {"cudf", "dask", "h5py", "modin", "numpy", "pandas", "polars", "pyarrow", "torch", "xarray"}
)


def _array_items(value: Any) -> Any:
    """Return the items of a small array in the host's own memory; None for everything else."""
    cls = type(value)
    if (cls.__module__, cls.__name__) == ("numpy", "ndarray"):
        return value.tolist() if value.size <= _MAX_ITEMS else None
    if (cls.__module__, cls.__name__) in (("torch", "Tensor"), ("torch.nn.parameter", "Parameter")):
        here = value.device.type == "cpu" and value.numel() <= _MAX_ITEMS
        return value.detach().tolist() if here else None
    return None


def _shape_of(value: Any) -> str | None:
    """Return type, dtype and shape of an array that is not written out: they are had without its contents."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if not isinstance(shape, tuple) or dtype is None:
        return None
    sizes = ",".join(str(int(size)) for size in shape)
    return f"<{qualified_name(type(value))} {str(dtype).rpartition('.')[2]}[{sizes}]>"
