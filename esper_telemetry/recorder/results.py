"""The results of a run as RunFinished holds them: plain numbers of the host, by name.

Anything may stand in `run.results`, for it is the user's. What is no number is left out, and its name is in the record;
a tensor is not read, and no value can make the end of a run fail.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from esper_telemetry.facts.text import qualified_name, text_of
from esper_telemetry.schema.guard import plain_value
from esper_telemetry.schema.misfit import is_misfit

_log = logging.getLogger("esper_telemetry")
_NAME_BYTES = 256
_MOST_NUMBERS = 1000  # 1,000 names of 256 bytes are half of what an event may take
_MOST_LEFT_OUT = 100


class Results(NamedTuple):
    """Results, sorted out.

    Attributes:
        numbers: by name.
        left_out: names of the others; where there are too many, the last one says how many more.
    """

    numbers: dict[str, float]
    left_out: list[str]


def plain_results(given: Any) -> Results:
    """Return the results that are numbers on the host, and the names of the others, which are said."""
    if not isinstance(given, Mapping):
        _log.warning("run.results is a %s and was left out; give a dict of numbers", qualified_name(type(given)))
        return Results({}, ["results"])
    numbers: dict[str, float] = {}
    left_out: list[str] = []
    for key, value in list(given.items()):
        name = text_of(key, _NAME_BYTES)
        number = _number(name, value)
        if number is None or len(numbers) >= _MOST_NUMBERS:
            left_out.append(name)
        else:
            numbers[name] = number
    more = len(left_out) - _MOST_LEFT_OUT
    return Results(numbers, [*left_out[:_MOST_LEFT_OUT], *([f"{more:,} more"] if more > 0 else [])])


def _number(name: str, value: Any) -> float | None:
    try:
        plain = plain_value(name, value)
        if isinstance(plain, (str, bytes)):
            raise TypeError(f"{qualified_name(type(plain))} is no number")  # noqa: TRY301 - said below like any other
        return float(plain)
    except Exception as error:
        if not is_misfit(error):  # a signal handler's, or set by another thread: the caller's
            raise
        _log.warning("results[%r] was left out of RunFinished: %s", name, text_of(error, 500))
        return None
