"""The event types that files declare: how a type is called where two have one short name, and what a misspelling meant.

A record declares the types that it has events of. Those of this SDK are known without one: to ask for them is no
mistake, there are none. All else comes from the headers that a survey has read; no event is read for it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from esper_telemetry.decode.types import short_names
from esper_telemetry.schema.builtin import built_in_types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper_telemetry.decode.survey import Survey

_MOST_SUGGESTED = 3
# A name that is less like the misspelt one than the best by this part was hardly meant.
_MUCH_LESS = 0.1


@dataclass(frozen=True, slots=True)
class DeclaredTypes:
    """The types of event that files declare.

    Attributes:
        short: short name by full name; the full name itself where no descriptor gives a short one.
        ambiguous: full names whose short name belongs to another declared type too.
    """

    short: Mapping[str, str]
    ambiguous: frozenset[str]

    def shown(self, full_name: str) -> str:
        """Return the name that tells this type from every other declared one: the short one unless it is ambiguous."""
        return full_name if full_name in self.ambiguous else self.short.get(full_name, full_name)

    def declares(self, wanted: str) -> bool:
        """Tell whether `wanted`, a short or full name or a pattern, names a type that is declared, or one of this SDK.

        "type:7" names a type by the number that an undeclared one is shown under, and is never refused.
        """
        if wanted.startswith("type:"):
            return True
        return any(fnmatchcase(name, wanted) for pair in (*self.short.items(), *_built_in()) for name in pair)

    def refusal(self, name: str) -> str:
        """Return what is wrong with `name`, which no declared type matches, with suggestions."""
        built_in = dict(_built_in())
        known = [*dict.fromkeys([*self.short.values(), *built_in.values(), *self.short, *built_in])]
        near = get_close_matches(name, known, _MOST_SUGGESTED)
        likeness = [SequenceMatcher(None, name, one).ratio() for one in near]
        meant = [one for one, like in zip(near, likeness, strict=True) if like > likeness[0] - _MUCH_LESS]
        ask = f"did you mean {' or '.join(meant)}?" if meant else "esper-telemetry schema lists the types"
        return f"no type {name} in this record; {ask}"


def _built_in() -> list[tuple[str, str]]:
    """Return full and short name of each type of this SDK."""
    return [(kind.full_name, kind.name) for kind in built_in_types()]


def declared_types(found: Survey) -> DeclaredTypes:
    """Return the types that the surveyed files declare, over all their runs and segments.

    Args:
        found: the files.
    """
    short: dict[str, str] = {}
    for descriptor_sets, full_names in found.schemas:
        short.update(short_names(descriptor_sets, full_names))
    owners = defaultdict(set)
    for full_name, name in short.items():
        owners[name].add(full_name)
    shared = {full_name for names in owners.values() if len(names) > 1 for full_name in names}
    return DeclaredTypes(short, frozenset(shared))
