"""Levels by name: off < lifecycle < minimal < normal < debug."""

from __future__ import annotations

from esper_telemetry.errors import ConfigError
from esper_telemetry.v1 import options_pb2

LEVELS: dict[str, int] = {
    "off": options_pb2.LEVEL_OFF,
    "lifecycle": options_pb2.LEVEL_LIFECYCLE,
    "minimal": options_pb2.LEVEL_MINIMAL,
    "normal": options_pb2.LEVEL_NORMAL,
    "debug": options_pb2.LEVEL_DEBUG,
}


def level_number(name: str) -> int:
    """Return the number of the Level called `name`.

    Raises:
        ConfigError: there is no such level.
    """
    try:
        return LEVELS[name]
    except (KeyError, TypeError):
        raise ConfigError(f"level {name!r} is unknown; use one of {', '.join(LEVELS)}") from None


def effective_level(name: str, *, lifecycle_only: bool) -> int:
    """Return the number of the level in force: lifecycle-only is a floor, so `normal` with it stays normal."""
    level = level_number(name)
    return max(level, options_pb2.LEVEL_LIFECYCLE) if lifecycle_only else level
