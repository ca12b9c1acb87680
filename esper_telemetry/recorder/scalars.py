"""`run.log({...})`: a dict of values as one event.

Numbers go into one ScalarsLogged and texts into a TextLogged each. One event instead of one for each value, because
twenty of them take 28 us and 294 bytes on disk as ScalarLogged, and 8 us and 210 bytes so. A value that cannot be
recorded is refused by name and counted, and takes none of its neighbours with it. No tensor is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.texts import emit_text, plain_name
from esper_telemetry.schema import event_type
from esper_telemetry.schema.guard import plain_value
from esper_telemetry.schema.misfit import as_refusal
from esper_telemetry.v1.logged_pb2 import ScalarsLogged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esper_telemetry.recorder.core import Core
    from esper_telemetry.recorder.emitter import Emitter

# Values of one event: with names of 100 bytes it stays far under the 512 KiB of an event.
_MOST_SCALARS = 1024
# Dicts inside dicts; one that contains itself ends here.
_DEEPEST = 16
_INT64 = 1 << 63


def log_scalars(core: Core, emitter: Emitter, values: Any, step: Any) -> None:
    """Record a dict of values.

    Args:
        core: of the run; it counts what is refused.
        emitter: has the context.
        values: name → number, text, None (not measured) or a dict of such.
        step: step they belong to, or None.

    Raises:
        SchemaError: only with strict=True, when something was refused; the rest is recorded.
    """
    if not core.wants(event_type(ScalarsLogged)):
        return
    found = _Found()
    found.take(values, "", 0)
    number = found.step(step)
    for part in _parts(found.scalars):
        emitter.emit(ScalarsLogged(scalars=part, step=number))
    for name, text in found.texts.items():
        emit_text(emitter if number is None or number < 0 else emitter.bind(step=number), name, text)
    for error in found.refused:
        core.reject(ScalarsLogged.DESCRIPTOR.full_name, error)


def _parts(scalars: dict[str, float]) -> Iterator[dict[str, float]]:
    """Yield `scalars` in parts that an event has room for."""
    if 0 < len(scalars) <= _MOST_SCALARS:
        yield scalars
        return
    items = iter(scalars.items())
    while part := dict(islice(items, _MOST_SCALARS)):
        yield part


class _Found:
    """What a dict holds.

    Attributes:
        scalars: numbers by name.
        texts: texts by name.
        refused: why a value cannot be recorded, one for each.
    """

    def __init__(self) -> None:
        self.scalars: dict[str, float] = {}
        self.texts: dict[str, str] = {}
        self.refused: list[SchemaError] = []

    def take(self, values: Any, prefix: str, depth: int) -> None:
        """Take the items of a dict; their names begin with `prefix`."""
        for key, value in self._items(values, prefix, depth):
            try:
                name = prefix + (key if type(key) is str and key.isascii() else plain_name("a value", key))
                if type(value) is float and name not in self.scalars:
                    self.scalars[name] = value
                else:
                    self._take_one(name, value, depth)
            except Exception as error:  # noqa: BLE001 - what is no misfit is raised again
                self.refused.append(as_refusal(error))

    def step(self, step: Any) -> int | None:
        """Return a step as an integer; one that is none is refused, and the values are recorded without."""
        if step is None or (type(step) is int and -_INT64 <= step < _INT64):
            return step
        try:
            return _integer(step)
        except Exception as error:  # noqa: BLE001 - as above
            self.refused.append(as_refusal(error))
            return None

    def _items(self, values: Any, prefix: str, depth: int) -> list[tuple[Any, Any]]:
        """Return the items of a dict as they are now; another thread may be changing it."""
        if type(values) is dict and depth <= _DEEPEST:
            return list(values.items())
        place = repr(prefix.removesuffix("/")) if prefix else "run.log"
        if not isinstance(values, Mapping):
            self.refused.append(SchemaError(f"{place} was given a {_kind(values)}; pass a dict of names and numbers"))
        elif depth > _DEEPEST:
            self.refused.append(SchemaError(f"{place} is a dict inside {depth} others; log it flat"))
        else:
            try:
                return list(values.items())
            except Exception as error:  # noqa: BLE001 - a mapping runs code of its own
                self.refused.append(as_refusal(error))
        return []

    def _take_one(self, name: str, value: Any, depth: int) -> None:
        if value is None:
            return
        if isinstance(value, Mapping):
            self.take(value, name + "/", depth + 1)
            return
        if name in self.scalars or name in self.texts:
            raise SchemaError(f"{name!r} was given twice: once by this name, and once by a dict inside a dict")
        plain = plain_value(f"value {name!r}", value)
        if isinstance(plain, str):
            self.texts[name] = plain
        elif isinstance(plain, (int, float)):
            self.scalars[name] = _double(name, plain)
        elif plain is not None:
            raise SchemaError(f"{name!r} was given a {_kind(value)}, not a number; try run.log_histogram")


def _double(name: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise SchemaError(f"{name!r} was given an integer that no double can hold") from None


def _integer(step: Any) -> int:
    plain = plain_value("step", step)
    if isinstance(plain, (int, float)) and plain == plain // 1 and -_INT64 <= plain < _INT64:
        return int(plain)
    raise SchemaError(f"step is {plain!r}, not a whole number of 64 bits; the values were recorded without it")


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
