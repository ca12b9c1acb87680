"""Vitals of policy updates: losses, entropy, KL, clipping, value fit, gradients, as small multiples with bands.

Bands are conventions of PPO practice, each with its reason; where the run has a setting (clip_range) it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.views.axes import BY_BATCH, position
from esper_telemetry.views.cell import Tone
from esper_telemetry.views.figure import GLYPHS, Axis, Band, Mark
from esper_telemetry.views.panel import Fold, Look, Panel
from esper_telemetry.views.tracks import Tracks

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.axes import XKind
    from esper_telemetry.views.figure import Figure

UPDATE = "ppo.update_completed"
ANOMALY = "ppo.anomaly_detected"

# Measurement, title, unit, bounds of its axis, bands, how to read it.
_VITALS: tuple[tuple[str, str, str, tuple[float | None, float | None], tuple[Band, ...], str], ...] = (
    ("policy_loss", "policy loss", "1", (None, None), (), "The clipped surrogate; its level means little, jumps much."),
    ("value_loss", "value loss", "1", (0, None), (), "Should fall, and rise for a while when the returns change."),
    ("entropy", "entropy", "nat", (0, None), (), "How undecided the joint policy is; it should fall slowly, not to 0."),
    (
        "kl_divergence",
        "KL divergence",
        "nat",
        (None, None),
        (Band(0.05, None, Tone.WARNING, "over 0.05: the policy moved far in one update"),),
        "How far one update moved the policy.",
    ),
    (
        "clip_fraction",
        "clip fraction",
        "1",
        (0, None),
        (Band(0.4, None, Tone.WARNING, "over 0.4: most of the gradient is cut off"),),
        "Share of samples whose ratio was clipped.",
    ),
    (
        "explained_variance",
        "explained variance",
        "1",
        (None, 1),
        (Band(None, 0, Tone.WARNING, "under 0: the value function is worse than a constant"),),
        "1 is a perfect value function, 0 one that predicts the mean.",
    ),
    ("grad_norm", "gradient norm", "1", (0, None), (), "Before clipping, mean over the optimizer steps."),
    ("loss", "loss", "1", (None, None), (), "What was minimised."),
    ("ratio_std", "spread of the ratios", "1", (0, None), (), "Standard deviation of the importance ratios."),
    ("advantage_std", "spread of the advantages", "1", (0, None), (), "Near 0 there is nothing to learn from."),
    ("action_std", "spread of the actions", "1", (0, None), (), "Standard deviation of a continuous policy."),
    ("lr", "learning rate", "1", (0, None), (), "Of the first parameter group."),
    ("entropy_coef", "entropy coefficient", "1", (0, None), (), "Weight of the entropy bonus."),
    ("clip_range", "clip range", "1", (0, None), (), "Ratios are clipped at 1 less and 1 more than this."),
    ("update_epochs", "passes", "{epoch}", (0, None), (), "Fewer than planned after an early stop on KL."),
    ("update_time_ms", "update time", "ms", (0, None), (), "Wall time."),
)
# Measurements with a smallest, a mean and a largest value, which are one figure.
_RANGES = (
    ("ratio", "importance ratio", 0.0, "Of new and old policy; 1 where nothing moved."),
    ("advantage", "advantage", None, "Before normalisation."),
)
_ENDS = (("min", "smallest"), ("mean", "mean"), ("max", "largest"))
_NAMES = tuple(vital[0] for vital in _VITALS)
_RANGE_NAMES = tuple(f"{name}_{end}" for name, *_ in _RANGES for end, _ in _ENDS)
_MOST_MARKS = 256


class PolicyUpdates(Fold):
    """Series of ppo.update_completed, with skipped updates and anomalies as marks."""

    def __init__(self) -> None:
        self._tracks = Tracks(BY_BATCH)
        self._ranges = Tracks(BY_BATCH)
        self._marks: list[tuple[XKind, float, str, str, int]] = []
        self.skipped = 0

    def add(self, event: Event) -> None:
        """Take an update or an anomaly."""
        data = event.data
        if event.type == ANOMALY:
            self._mark(event, data, "anomaly", _anomaly_text(data))
            return
        if data.get("skipped"):
            self.skipped += 1
            self._mark(event, data, "skipped", f"update skipped: {data.get('skip_reason', 'no reason given')}")
        self._tracks.add(event, data, {name: data.get(name) for name in _NAMES})
        for end, label in _ENDS:
            self._ranges.add(event, data, {name: data.get(f"{name}_{end}") for name, *_ in _RANGES}, label)

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return one series for each vital that was ever measured."""
        place = look.facts.places.place
        marks = [
            Mark(place(kind, x), GLYPHS[glyph], text, seq, Tone.WARNING if glyph == "anomaly" else Tone.MUTED)
            for kind, x, glyph, text, seq in self._marks
        ]
        found: list[Figure] = []
        for name, title, unit, (low, high), bands, explanation in _VITALS:
            axis = Axis(title, unit, low, high)
            found += self._tracks.series(name, look, axis, bands=bands, marks=marks, explanation=explanation)
            if name == "grad_norm":
                for part, label, least, text in _RANGES:
                    found += self._ranges.series(part, look, Axis(label, "1", least), explanation=text)
        return tuple(found)

    def _mark(self, event: Event, data: dict[str, Any], glyph: str, text: str) -> None:
        kind, x = position(data, event.time_unix_nano, BY_BATCH)
        self._marks.append((kind, x, glyph, text, event.seq))
        del self._marks[:-_MOST_MARKS]


def _anomaly_text(data: dict[str, Any]) -> str:
    value, threshold = data.get("value"), data.get("threshold")
    text = f"{data.get('anomaly', 'anomaly')}: {data.get('metric', 'a measurement')}"
    text += f" {value:.4g}" if value is not None else " not measured"
    return text + (f", threshold {threshold:.4g}" if threshold is not None else "")


PANEL = Panel(
    "ppo",
    "Policy updates",
    "KL and clip fraction outside their bands, an entropy that drops to zero, and explained variance under 0.",
    {
        UPDATE: (*_NAMES, *_RANGE_NAMES, "skipped", "skip_reason", "batch_idx"),
        ANOMALY: ("anomaly", "metric", "value", "threshold", "batch_idx"),
    },
    PolicyUpdates,
)
