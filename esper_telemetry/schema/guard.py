"""The tensor guard: what may be handed to a protobuf field.

protobuf calls `__float__` or `__index__` on whatever it is given, and on a device
tensor that is a silent host sync. So values are looked at by type first: plain ones
pass untouched, numpy scalars are converted, tensors (of any device, so that code
behaves on a laptop as on a GPU) and other array types are refused.
"""

from __future__ import annotations

import enum
import numbers
from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from esper_telemetry.errors import SchemaError

# Types that cannot reach a device; the hot path tests membership only.
SCALAR_TYPES = frozenset({int, float, str, bool, bytes, type(None)})


def plain_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Return `fields` with every value plain; the same dict when nothing had to be converted.

    Raises:
        SchemaError: a value is a tensor, a device array or of another type no field can hold.
    """
    converted = fields
    for name, value in fields.items():
        if type(value) in SCALAR_TYPES:
            continue
        plain = plain_value(name, value)
        if plain is not value:
            if converted is fields:
                converted = dict(fields)
            converted[name] = plain
    return converted


def plain_value(name: str, value: Any) -> Any:  # noqa: PLR0911 - one return per kind of value
    """Return `value` as something protobuf can take without touching a device.

    Args:
        name: the field, for the error.
        value: what the caller gave.

    Raises:
        SchemaError: as `plain_fields`.
    """
    if type(value) in SCALAR_TYPES or isinstance(value, Message):
        return value
    if isinstance(value, enum.Enum):
        return plain_value(name, value.value)
    module = type(value).__module__.partition(".")[0]
    if module == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (int, float, str, bytes)):
        return value
    if isinstance(value, Mapping):
        return {plain_value(name, key): plain_value(name, item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        # A column of a block has thousands of plain numbers: looking at their types alone is 10 times faster.
        plain = SCALAR_TYPES.issuperset(map(type, value))
        return list(value) if plain else [plain_value(name, item) for item in value]
    if isinstance(value, numbers.Real):
        try:
            return float(value)
        except ArithmeticError as error:
            raise SchemaError(f"field {name!r} was given a number that no double can hold: {error}") from None
    if module == "torch" and not hasattr(value, "data_ptr"):
        return str(value)  # torch.device, torch.dtype
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    raise SchemaError(
        f"field {name!r} was given a {kind}: reading it could make the host wait for a device."
        " Pass a plain number (one you already have on the host), or count it with esper_telemetry.counters"
    )
