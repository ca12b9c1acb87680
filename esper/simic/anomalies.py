"""What looks sick or changes course in a run: anomalies of an update, the trend of the results, escalation.

It judges numbers the loop has anyway and answers with facts to report. None of it feeds back into learning.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

RATIO_EXPLOSION = 5.0
RATIO_COLLAPSE = 0.1
VALUE_COLLAPSE = -0.5
VALUE_WARM_UP = 5  # updates a young value function may explain nothing
TREND_WINDOW = 10
TREND_THRESHOLD = 1.0  # points


@dataclass(frozen=True)
class Anomaly:
    """A measurement that crossed a threshold; None where being finite is the test."""

    kind: str
    metric: str
    value: float
    threshold: float | None


def find_anomalies(metrics: Mapping[str, Any], grad_norm: float | None, *, update: int) -> list[Anomaly]:
    """Look at an update.

    Args:
        metrics: Fields of PpoUpdateCompleted.
        grad_norm: Norm before clipping.
        update: Number of the update, from 1.

    Returns:
        What is wrong with it; mostly nothing. What is not finite is judged as that alone.
    """
    losses = {name: metrics[name] for name in ("policy_loss", "value_loss", "entropy", "kl_divergence")}
    losses["grad_norm"] = grad_norm
    broken = [
        Anomaly("numerical_instability", name, value, None)
        for name, value in losses.items()
        if value is not None and not math.isfinite(value)
    ]
    if broken:
        return broken[:1]
    found = []
    if metrics["ratio_max"] > RATIO_EXPLOSION:
        found.append(Anomaly("ratio_explosion", "ratio_max", metrics["ratio_max"], RATIO_EXPLOSION))
    if metrics["ratio_min"] < RATIO_COLLAPSE:
        found.append(Anomaly("ratio_collapse", "ratio_min", metrics["ratio_min"], RATIO_COLLAPSE))
    explained = metrics["explained_variance"]
    if update > VALUE_WARM_UP and explained < VALUE_COLLAPSE:
        found.append(Anomaly("value_collapse", "explained_variance", explained, VALUE_COLLAPSE))
    return found


class Escalation:
    """Counts the batches for which everything is recorded after an anomaly.

    Args:
        batches: How many.
    """

    def __init__(self, batches: int) -> None:
        self.batches = batches
        self.left = 0

    def step(self, *, anomaly: bool) -> str | None:
        """Take a batch; "start" and "stop" mean that the level is to change."""
        if anomaly and self.batches:
            began, self.left = self.left <= 0, self.batches
            return "start" if began else None
        self.left = max(self.left - 1, -1)
        return "stop" if self.left == 0 else None


class TrendTracker:
    """Watches the rolling mean of the batches' accuracies, in points.

    The mean of the last ten is compared with what it was five batches before (or the oldest there is): a
    difference under one point is a plateau.
    """

    def __init__(self) -> None:
        self._accuracies: deque[float] = deque(maxlen=TREND_WINDOW)
        self._rolling: deque[float] = deque(maxlen=TREND_WINDOW // 2 + 1)
        self._trend: str | None = None

    @property
    def rolling(self) -> float | None:
        """Mean accuracy of the last ten batches; None before the first."""
        return self._rolling[-1] if self._rolling else None

    def add(self, accuracy: float) -> dict[str, Any] | None:
        """Take a batch's accuracy; the fields of TrendChanged if the trend is another one now."""
        self._accuracies.append(accuracy)
        self._rolling.append(fmean(self._accuracies))
        if len(self._rolling) == 1:
            return None
        now, before = self._rolling[-1], self._rolling[0]
        trend = "plateau"
        if abs(now - before) >= TREND_THRESHOLD:
            trend = "improvement" if now > before else "degradation"
        if trend == self._trend:
            return None
        self._trend = trend
        return {
            "trend": trend,
            "rolling_accuracy": now,
            "previous_accuracy": before,
            "threshold": TREND_THRESHOLD,
        }

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"accuracies": list(self._accuracies), "rolling": list(self._rolling), "trend": self._trend}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `state()` returned."""
        self._accuracies.extend(state["accuracies"])
        self._rolling.extend(state["rolling"])
        self._trend = state["trend"]
