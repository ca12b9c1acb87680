"""A configuration as people have it, as values that JSON knows: dicts with text keys, lists, texts, numbers.

What is known by kind is converted (mappings, Namespace, dataclass, attrs, pydantic, OmegaConf, sets, small arrays, and
the scalars of scalars.py). What is not known is named by its type in angle brackets: nothing's repr is taken, no
memory address gets in, no generator is consumed and no device is read. An error costs the value that raised it. Equal
configurations give equal trees, in every process.
"""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.facts.objectfields import array_items, array_mark, fields_of
from esper_telemetry.facts.plainscalar import NOT_SCALAR, plain_scalar
from esper_telemetry.facts.text import qualified_name, type_name, utf8_text

if TYPE_CHECKING:
    from esper_telemetry.facts.objectfields import Fields

_MAX_DEPTH = 64
_MAX_VALUES = 100_000
_CONTAINERS = frozenset({dict, list, tuple, set})  # most of them, and the slowest to find out that they are no scalars


class Odd(NamedTuple):
    """A value that was not taken as it is.

    Attributes:
        place: where it is: "config.optim.betas[1]".
        what: what is recorded there instead.
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
        self._above: set[int] = set()  # ids of the containers that a value is in
        self._left = _MAX_VALUES

    def convert(self, value: Any, place: str) -> Any:
        """Return `value` as JSON knows it; never raises, but for what arrives from outside (a signal's exception).

        Args:
            value: anything.
            place: its name in messages.
        """
        self._left -= 1
        if self._left < 0:
            return self._mark(place, "<cut: too many values>", report=self._left == -1)
        try:
            return self._convert(value, place)
        except Exception as error:  # noqa: BLE001 - whatever a value does when it is read costs this value alone
            return self._mark(place, f"<unreadable: {qualified_name(type(error))}>")

    def _convert(self, value: Any, place: str) -> Any:
        if type(value) not in _CONTAINERS:
            scalar = plain_scalar(value)
            if scalar is not NOT_SCALAR:
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
        fields = fields_of(value) if type(value) is not list else None
        if fields is not None:
            return self._object(fields, place)
        if isinstance(value, (list, tuple, deque)) or (
            isinstance(value, Sequence) and not isinstance(value, memoryview)
        ):
            return [self.convert(item, f"{place}[{index}]") for index, item in enumerate(self._within(value))]
        if isinstance(value, AbstractSet):
            return sorted((self.convert(item, f"{place}[]") for item in self._within(value)), key=canonical_json)
        listed = array_items(value)
        if listed is not None:
            return self.convert(listed, place)
        return self._mark(place, array_mark(value) or f"<{qualified_name(type(value))}>")

    def _within(self, values: Any) -> Iterator[Any]:
        """Yield values while they are not too many."""
        for value in values:
            yield value
            if self._left < 0:
                return

    def _object(self, fields: Fields, place: str) -> dict[str, Any]:
        """Return names and values as a dict; a key that is no text gives way to a text that looks the same."""
        plain: dict[str, Any] = {}
        later = []
        for key, get in self._within(fields):
            if isinstance(key, str) and not isinstance(key, Enum):
                name = _unused(utf8_text(key), plain)
                plain[name] = self._get(get, f"{place}.{name}")
            else:
                later.append((key, get))
        for key, get in later:
            name = _unused(self._key(key), plain, f" ({type_name(type(key))})")
            plain[name] = self._get(get, f"{place}.{name}")
        return plain

    def _get(self, get: Callable[[], Any], place: str) -> Any:
        try:
            value = get()
        except Exception as error:  # noqa: BLE001 - a missing value of OmegaConf, a property that raises
            return self._mark(place, f"<unreadable: {qualified_name(type(error))}>")
        return self.convert(value, place)

    def _key(self, key: Any) -> str:
        plain = self.convert(key, "a key")
        return plain if isinstance(plain, str) else canonical_json(plain)

    def _mark(self, place: str, what: str, *, report: bool = True) -> str:
        if report:
            self.odd.append(Odd(place, what))
        return what


def canonical_json(value: Any) -> str:
    """Return a plain value as JSON with sorted keys and no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _unused(name: str, taken: Container[str], kind: str = "") -> str:
    """Return a name, with the kind of its key and a number behind it where another key looks the same."""
    if name not in taken:
        return name
    numbered = (f"{name}{kind} #{number}" for number in itertools.count(2))
    return next(one for one in itertools.chain([name + kind], numbered) if one not in taken)
