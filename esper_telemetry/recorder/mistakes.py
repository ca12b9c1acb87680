"""Says what was wrong with a call of `emit`, once for each type and mistake, whatever the values."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from esper_telemetry.errors import SchemaError

_log = logging.getLogger("esper_telemetry")
# Mistakes that are told apart: a caller who makes up new ones all the time fills neither log nor memory.
_MISTAKES = 256


class Mistakes:
    """Mistakes of one run that were said; threads and signal handlers may share it."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()
        self._saying: set[int] = set()

    def __len__(self) -> int:
        return len(self._said)

    def say(self, name: str, error: SchemaError) -> None:
        """Say once that an event of type `name` was not recorded, and why."""
        key, thread = (name, error.about), threading.get_ident()
        if key in self._said or len(self._said) >= _MISTAKES:
            return
        if thread in self._saying:  # a log handler that emits is not to be called by itself
            return
        self._said.add(key)
        try:
            self._saying.add(thread)
            _log.warning("%s was not recorded (counted as invalid, said once): %s", name, error)
        finally:
            self._saying.discard(thread)
