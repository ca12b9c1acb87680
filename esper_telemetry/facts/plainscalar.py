"""Values of a configuration that hold no others, as JSON knows them: the rules by type, in the order they are tried.

    Enum            its value if that is a text or number by inheritance (IntEnum, StrEnum), else "Color.RED"
    timedelta       seconds
    bytes           base64, as everywhere in a record
    1.0             1, for the two are equal; NaN and the infinities are texts
    function, class its qualified name: "torch.nn.functional.relu"

numpy, torch and pydantic are known by the names of their types, for nothing is imported here. No value's repr is taken.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import enum
import fractions
import hashlib
import ipaddress
import math
import os
import re
import types
import uuid
from typing import TYPE_CHECKING, Any, Final

from esper_telemetry.facts.text import qualified_name, utf8_text

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET: Final = "<secret>"  # noqa: S105 - in the place of a value that hides itself, such as pydantic's SecretStr
NOT_SCALAR: Final = object()

_MAX_BYTES = 4096  # of bytes that are written out
_EXACT = 2**53  # a double cannot distinguish whole numbers from here on
_MAX_BITS = 4096  # of an integer: Python refuses to print long ones
_FUNCTIONS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType,
    types.MethodDescriptorType, types.MethodWrapperType, types.WrapperDescriptorType,
)  # fmt: skip
# Types whose text is their value, although nothing in the language declares that.
_TEXTUAL_ELSEWHERE = {
    "numpy": frozenset({"datetime64", "timedelta64"}),
    "torch": frozenset({"dtype", "device", "memory_format", "layout"}),
    "zoneinfo": frozenset({"ZoneInfo"}),
}


def plain_scalar(value: Any) -> Any:
    """Return a value that holds no others as JSON knows it, or NOT_SCALAR."""
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value)
    return _scalar_of_others(value)


def _int(value: int) -> int | str:
    number = int.__index__(value)
    return number if number.bit_length() <= _MAX_BITS else f"<int of {number.bit_length()} bits>"


def _float(value: float) -> float | int | str:
    number = float.__float__(value)
    if math.isfinite(number):
        # As JSON's own canonical form (RFC 8785) has it: 1 and 1.0 are equal, and so must be their hashes.
        return int(number) if number.is_integer() and abs(number) < _EXACT else number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _enum(value: enum.Enum) -> str:
    return f"{type(value).__qualname__}.{value.value if value.name is None else value.name}"


def _bytes(value: bytes | bytearray) -> str:
    if len(value) <= _MAX_BYTES:
        return base64.b64encode(value).decode()
    return f"<{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:16]}>"


def _function(value: Any) -> str:
    names = (getattr(value, "__module__", None), getattr(value, "__qualname__", None) or value.__name__)
    return utf8_text(".".join(name for name in names if isinstance(name, str)))


# The first row whose types fit decides: a bool is an int, a StrEnum a str, a datetime a date.
_CONVERSIONS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    ((bool, types.NoneType), lambda value: value),
    (str, utf8_text),
    (int, _int),
    (float, _float),
    (enum.Enum, _enum),
    (dt.timedelta, lambda value: _float(value.total_seconds())),
    ((dt.date, dt.time), lambda value: value.isoformat()),
    ((decimal.Decimal, fractions.Fraction, complex, uuid.UUID, dt.timezone, range, slice), str),
    ((ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network), str),
    ((bytes, bytearray), _bytes),
    (re.Pattern, lambda value: plain_scalar(value.pattern)),
    (os.PathLike, lambda value: plain_scalar(os.fspath(value))),
    (type, qualified_name),
    (_FUNCTIONS, _function),
)


def _scalar_of_others(value: Any) -> Any:
    cls = type(value)
    package = str(cls.__module__).partition(".")[0]
    if cls.__name__ in _TEXTUAL_ELSEWHERE.get(package, ()) or cls.__module__ == "numpy.dtypes":
        return str(value)
    if package == "numpy" and hasattr(cls, "item") and not hasattr(cls, "__len__"):
        item = value.item()
        return plain_scalar(item) if type(item) is not cls else str(value)  # longdouble knows no other form
    if any(base.__module__ == "pydantic.types" and hasattr(base, "get_secret_value") for base in cls.__mro__):
        return SECRET
    return _function(value) if _is_function_like(value, package) else NOT_SCALAR


def _is_function_like(value: Any, package: str) -> bool:
    """Tell a function in disguise: one that is cached or wrapped, a ufunc of numpy."""
    if package == "numpy" and hasattr(value, "nin"):
        return True
    return callable(value) and isinstance(getattr(value, "__wrapped__", None), _FUNCTIONS)
