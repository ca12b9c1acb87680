"""The configuration of a run: what was given, plain and without secrets, its hash, and what fits into an event.

The hash is that of the whole configuration, redacted but not cut, so that equal hashes mean equal configurations and
no secret can be guessed from one. Merging works on whole configurations too, as readers do it.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from esper_telemetry.facts.plainconfig import PlainConfig, canonical_json
from esper_telemetry.facts.shrink import shrink
from esper_telemetry.schema import merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.facts.plainconfig import Odd
    from esper_telemetry.facts.redaction import Redaction

_log = logging.getLogger("esper_telemetry")
PLACE = "config"
_NOT_NAMED = "value"  # name of a configuration that has no names: a list, a text
_SAID = 5  # places that one warning names


@dataclass(frozen=True, slots=True)
class Configuration:
    """A configuration, or a part that is added to one.

    Attributes:
        values: names and plain values, without secrets; whole.
        redacted: places of the secrets.
    """

    values: dict[str, Any]
    redacted: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical JSON of all values, hex."""
        return hashlib.sha256(canonical_json(self.values).encode()).hexdigest()

    def merged(self, update: Configuration) -> Configuration:
        """Return this configuration with another one put over it, by the rule of RunConfigured."""
        return Configuration(merged(self.values, update.values), (*self.redacted, *update.redacted))

    def json(self, limit: int) -> tuple[str, int | None]:
        """Return canonical JSON of at most `limit` bytes, and the size of the whole if it was cut."""
        text = canonical_json(self.values)
        if len(text) <= limit:
            return text, None
        _log.warning("config takes %d bytes of JSON; its largest values are cut to fit into %d", len(text), limit)
        return canonical_json(shrink(self.values, limit)), len(text)


def configuration(given: Any, redaction: Redaction) -> Configuration:
    """Return what was given as a configuration; what could not be taken as it is, is reported in one warning.

    Args:
        given: a dict, or whatever else people configure with.
        redaction: what is a secret; its places get those found here.
    """
    plain = PlainConfig()
    found = plain.convert(given, PLACE)
    _report(plain.odd)
    if not isinstance(found, dict):
        _log.warning(
            "config is a %s, which has no names; it is recorded as {%r: ...}", type(given).__name__, _NOT_NAMED
        )
        found = {_NOT_NAMED: found}
    known = len(redaction.places)
    values = redaction.tree(found, PLACE)
    return Configuration(values, tuple(redaction.places[known:]))


def _report(odd: Sequence[Odd]) -> None:
    if odd:
        shown = ", ".join(f"{place} is recorded as {what}" for place, what in odd[:_SAID])
        _log.warning("%s%s", shown, f", and {len(odd) - _SAID:,} more" if len(odd) > _SAID else "")
