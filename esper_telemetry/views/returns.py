"""Returns and lengths of episodes: every episode, and the quartiles of each batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.views.axes import XKind, position, x_axis
from esper_telemetry.views.figure import Axis, Line, Point, Series
from esper_telemetry.views.panel import Fold, Look, Panel
from esper_telemetry.views.plots import env_label
from esper_telemetry.views.quantiles import Sample
from esper_telemetry.views.tracks import Tracks

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

ENDED = "episode.completed"
_ORDER = (XKind.GLOBAL_EPOCH, XKind.BATCH, XKind.STEP, XKind.EPISODE)
_FIELDS = (("episode_return", "return", "1"), ("length", "length", "{step}"), ("duration_s", "duration", "s"))
_SHARES = (("median", 0.5), ("lower quartile", 0.25), ("upper quartile", 0.75))
_MOST_BATCHES = 4096
_FEW = 3


class Returns(Fold):
    """Episodes by position, and samples by batch."""

    def __init__(self) -> None:
        self._tracks = Tracks(_ORDER)
        self._samples: dict[tuple[XKind, float], tuple[Sample, int]] = {}

    def add(self, event: Event) -> None:
        """Take an episode that ended."""
        data = event.data
        self._tracks.add(event, data, {name: data.get(name) for name, *_ in _FIELDS}, env_label(data))
        value = data.get("episode_return")
        if value is None:
            return
        at = position(data, event.time_unix_nano, _ORDER[:2])
        if at[0] is not XKind.TIME:
            sample, _ = self._samples.get(at, (Sample(), 0))
            sample.add(value)
            self._samples[at] = sample, event.seq
            if len(self._samples) > _MOST_BATCHES:
                del self._samples[next(iter(self._samples))]

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return quartiles by batch where batches have several episodes, then the episodes themselves."""
        found: list[Figure] = []
        if any(sample.count >= _FEW for sample, _ in self._samples.values()):
            found.append(self._quartiles())
        for name, title, unit in _FIELDS:
            text = "Each point is one episode." if name == "episode_return" else ""
            found += self._tracks.series(name, look, Axis(title, unit), title=f"{title} of episodes", explanation=text)
        return tuple(found)

    def _quartiles(self) -> Series:
        lines = []
        kind = next(iter(self._samples))[0]
        known = sorted((at, sample, seq) for (one, at), (sample, seq) in self._samples.items() if one is kind)
        for hue, (name, share) in enumerate(_SHARES):
            points: list[Point] = []
            for at, sample, seq in known:
                found = sample.quantiles(share)
                if found is not None:
                    points.append(Point(at, found[0], seq, joined=bool(points)))
            lines.append(Line(name, tuple(points), len(points), hue, dashed=hue > 0))
        text = "Quartiles over the episodes of a batch, computed here from all of them."
        return Series("Return by batch", x_axis(kind), Axis("return"), tuple(lines), explanation=text)


PANEL = Panel(
    "returns",
    "Returns",
    "Whether returns rise, and whether a few episodes hide many bad ones.",
    {ENDED: (*(name for name, *_ in _FIELDS), "env_id")},
    Returns,
)
