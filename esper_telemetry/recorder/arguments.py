"""Checks what a caller gives to start_run, in one place: texts come out clean, everything else is a ConfigError.

An error names the argument, its value and what to give instead. Texts that are no UTF-8 (a path in a tag) are cleaned
instead, for a run is worth more than a letter.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import ConfigError
from esper_telemetry.facts.plainconfig import PlainConfig
from esper_telemetry.facts.text import qualified_name, text_of, utf8_text

if TYPE_CHECKING:
    from esper_telemetry.facts.redaction import Redaction

_TEXT_BYTES = 4096
_TAGS_BYTES = 128 * 1024
_LARGEST_RANK = 2**32 - 1


def checked_name(name: Any) -> str:
    """Return the name of a run.

    Raises:
        ConfigError: it is no text.
    """
    if not issubclass(type(name), str):  # isinstance would ask the value
        raise ConfigError(f"name is {_shown(name)}; give a text, such as name='baseline'")
    return utf8_text(name, _TEXT_BYTES)


def checked_run_id(run_id: Any) -> str | None:
    """Return a run id that was given; what it may be made of is checked where it becomes a folder.

    Raises:
        ConfigError: it is no text.
    """
    if run_id is None:
        return None
    if not issubclass(type(run_id), str) or utf8_text(run_id) != run_id:
        raise ConfigError(f"run_id is {_shown(run_id)}; give a text, such as run_id='job-17'")
    return utf8_text(run_id)


def checked_rank(rank: Any) -> int:
    """Return a rank.

    Raises:
        ConfigError: it is no whole number, or out of range.
    """
    try:
        number = operator.index(rank)
    except Exception:  # noqa: BLE001 - an object may raise what it likes
        raise ConfigError(f"rank is {_shown(rank)}; give a whole number, such as int(os.environ['RANK'])") from None
    if not 0 <= number <= _LARGEST_RANK:
        raise ConfigError(f"rank is {number}; it must be 0 or more, and below 2**32")
    return number


def checked_folder(folder: Any) -> Path | None:
    """Return the folder of runs.

    Raises:
        ConfigError: it is no path.
    """
    if folder is None:
        return None
    try:
        path = os.fspath(folder)
    except Exception:  # noqa: BLE001 - as above
        path = None
    if not isinstance(path, str) or "\0" in path:
        raise ConfigError(f"dir is {_shown(folder)}; name the folder that run folders are made in, such as 'runs'")
    return Path(path or ".")


def checked_tags(tags: Any, redaction: Redaction) -> dict[str, str]:
    """Return tags as texts, without those that are None and without secrets.

    Raises:
        ConfigError: they are no dict, one of them is not a single value, or they are too large.
    """
    if tags is None:
        return {}
    try:
        given = dict(tags) if isinstance(tags, Mapping) else None
    except Exception:  # noqa: BLE001 - a mapping may raise what it likes
        given = None
    if given is None:
        raise ConfigError(f"tags is {_shown(tags)}; give a dict of names and texts, such as {{'team': 'rl'}}")
    texts = {}
    for key, value in given.items():
        if value is not None:
            name = _tag_text(key, f"the name {_shown(key)} in tags")
            texts[name] = _tag_text(value, f"tags[{name!r}]")
    size = sum(len(part.encode()) for item in texts.items() for part in item)
    if size > _TAGS_BYTES:
        raise ConfigError(f"tags take {size:,} bytes, and at most {_TAGS_BYTES:,} are kept; put such data into config")
    return {name: redaction.tree(text, f"tags.{name}", name) for name, text in texts.items()}


def checked_type(value: Any, cls: type, argument: str) -> Any:
    """Return a value if it is of a class, or None.

    Raises:
        ConfigError: it is of another one.
    """
    if value is None or issubclass(type(value), cls):
        return value
    raise ConfigError(f"{argument} is {_shown(value)}; give {cls.__name__}(...), or leave it out")


def checked_clock(clock: Any) -> Any:
    """Return a clock.

    Raises:
        ConfigError: it does not give both times, in whole nanoseconds.
    """
    try:
        times = (clock.wall_ns(), clock.monotonic_ns())
    except Exception:  # noqa: BLE001 - as above
        times = (None, None)
    if not all(type(nanos) is int for nanos in times):
        raise ConfigError(f"clock is {_shown(clock)}; wall_ns() and monotonic_ns() must return whole nanoseconds")
    return clock


def _tag_text(value: Any, what: str) -> str:
    """Return one value as a text, as a configuration shows it; an object has none, and a tensor is not read."""
    plain = PlainConfig()
    found = plain.convert(value, what)
    if isinstance(found, (list, dict)) or plain.odd:
        raise ConfigError(f"{what} is {_shown(value)}; a tag is one text or number")
    return utf8_text(found if isinstance(found, str) else str(found), _TEXT_BYTES)


def _shown(value: Any) -> str:
    """Return a value as an error names it: printed only where that is short and runs no code of the value's."""
    kind = qualified_name(type(value))
    if type(value) in (str, bytes, int, float, bool):
        return f"{text_of(repr(value)[:100], 200)} ({kind})"
    return "None" if value is None else f"an object of type {kind}"
