"""The configuration of a run as its record tells it: that of RunStarted, with every RunConfigured put over it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from esper_telemetry.schema import merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_JSON, _HASH, _CUT_FROM = "config_json", "config_sha256", "config_bytes"


@dataclass(slots=True)
class RunConfiguration:
    """A configuration, merged.

    Attributes:
        values: names and values, as JSON has them.
        sha256: hash of the whole configuration, as its writer took it; hex.
        redacted: places of the secrets that were left out.
        cut: parts of it were too large for an event and were cut; the hash is that of the whole.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    redacted: list[str] = field(default_factory=list)
    cut: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """Single values by dotted names ("optim.lr"); a list is one value, as compact JSON."""
        return dict(_settings(self.values, ""))


def run_configuration(started: Mapping[str, Any], configured: Iterable[Mapping[str, Any]]) -> RunConfiguration | None:
    """Return the configuration of a run, or None if it was never given.

    Args:
        started: data of its RunStarted.
        configured: data of its RunConfigured events, in their order.
    """
    parts = [part for part in (started, *configured) if _JSON in part]
    if not parts:
        return None
    found = RunConfiguration()
    for part in parts:
        found.values = merged(found.values, _object(part[_JSON]))
        found.sha256 = part.get(_HASH)
        found.redacted += (place for place in part.get("redacted", ()) if place not in found.redacted)
        found.cut = found.cut or _CUT_FROM in part
    return found


def _settings(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _settings(value, f"{prefix}{name}.")
        else:
            plain = not isinstance(value, (list, dict))
            yield f"{prefix}{name}", value if plain else json.dumps(value, separators=(",", ":"))


def _object(text: str) -> dict[str, Any]:
    """Return an object of JSON; what another writer put there instead stands under the name "value"."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    return value if isinstance(value, dict) else {"value": value}
