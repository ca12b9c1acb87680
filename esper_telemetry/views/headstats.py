"""Each head of the policy: entropy against its largest possible value, clipping, gradients.

The largest entropy of a head is ln of its options, which policy.mask_hit_rates names. Without that event the entropy
is shown in nats, and no share of an unknown maximum is made up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from esper_telemetry.views.axes import BY_BATCH
from esper_telemetry.views.figure import Axis
from esper_telemetry.views.panel import Fold, Look, Panel
from esper_telemetry.views.tracks import Tracks

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

_FIELDS = ("entropy", "clip_fraction", "grad_norm")


class HeadStatistics(Fold):
    """Series by head."""

    def __init__(self) -> None:
        self._tracks = Tracks(BY_BATCH)
        self._options: dict[str, int] = {}

    def add(self, event: Event) -> None:
        """Take the statistics of an update, or the options of the heads."""
        data = event.data
        heads: list[dict[str, Any]] = data.get("heads", [])
        for head in heads:
            name = str(head.get("head", ""))
            if event.type == "policy.mask_hit_rates":
                self._options[name] = max(self._options.get(name, 0), len(head.get("options", ())))
            else:
                self._tracks.add(event, data, {field: head.get(field) for field in _FIELDS}, name)

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return entropy, clipping and gradient norm, a line for each head."""
        highest = {name: math.log(count) for name, count in self._options.items() if count > 1}
        names = {name: f"{name} (of {most:.2f})" for name, most in highest.items()}
        told = ", ".join(f"{name} ln {self._options[name]} = {most:.3f}" for name, most in highest.items())
        text = (
            f"Largest possible: {told}."
            if told
            else "The number of options is not recorded, so the maximum is not known."
        )
        entropy = Axis("entropy", "nat", 0)
        found: list[Figure] = []
        found += self._tracks.series("entropy", look, entropy, explanation=text, names=names)
        found += self._tracks.series("clip_fraction", look, Axis("clip fraction", "1", 0))
        found += self._tracks.series("grad_norm", look, Axis("gradient norm", "1", 0), explanation="Before clipping.")
        return tuple(found)


PANEL = Panel(
    "heads",
    "Heads of the policy",
    "A head whose entropy has fallen to zero decides nothing any more.",
    {
        "ppo.update_completed": ("heads.head", *(f"heads.{name}" for name in _FIELDS)),
        "policy.mask_hit_rates": ("heads.head", "heads.options"),
    },
    HeadStatistics,
)
