"""Seed lanes: what grew in each slot of each environment, over the whole run.

A lane is a slot of an environment of a rank; an episode starts with an empty host, so no seed is carried over an
episode's end. The height of an interval is alpha where it was measured. Gates that fail epoch after epoch are one
mark, with the numbers of the last time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.views.axes import BY_EPOCH, XKind, outer_of, position, x_axis
from esper_telemetry.views.cell import Tone, plain_number
from esper_telemetry.views.figure import GLYPHS, Gap, Interval, Lane, Lanes, Mark
from esper_telemetry.views.panel import Fold, Look, Panel

if TYPE_CHECKING:
    from esper_telemetry.decode import Event
    from esper_telemetry.views.figure import Figure

MOST_INTERVALS = 1 << 13
"""Intervals of a lane that are kept: about 2,000 seeds."""

KINDS = (
    ("GERMINATED", "·"),
    ("TRAINING", "t"),
    ("BLENDING", "b"),
    ("PROBATIONARY", "p"),
    ("FOSSILIZED", "◆"),
    ("EMBARGOED", "e"),
    ("RESETTING", "r"),
)
"""Stages that are drawn, in the order of a life, with their glyphs; an empty slot is empty space."""

_SHOWN = {name for name, _ in KINDS}
_MARKS = ("germinated", "culled", "fossilized", "gate", "rollback")
_MEANINGS = {
    "germinated": "a seed was planted",
    "culled": "it was discarded",
    "fossilized": "it was kept for good",
    "gate": "a gate refused it",
    "rollback": "the governor restored an earlier state",
}


class LaneKey(NamedTuple):
    """A lane: stream, environment, slot."""

    attempt: int
    rank: int
    env: int
    slot: str


@dataclass(slots=True)
class Stay:
    """A seed's stay in one stage, in stored positions."""

    start: float
    stage: str
    seq: int
    seed: str
    blueprint: str
    end: float | None = None
    last_seq: int = 0
    heights: list[tuple[float, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class LaneMark:
    """A mark of a lane, in stored positions."""

    at: float
    kind: str
    text: str
    seq: int
    last: float
    times: int = 1
    gate: str = ""


@dataclass(slots=True)
class SlotHistory:
    """One lane."""

    producer: bytes
    stays: deque[Stay] = field(default_factory=lambda: deque(maxlen=MOST_INTERVALS))
    marks: deque[LaneMark] = field(default_factory=lambda: deque(maxlen=MOST_INTERVALS))
    stays_count: int = 0


class SeedLanes(Fold):
    """The lanes of a run."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, SlotHistory] = {}
        self._rollbacks: list[tuple[int, int, int, XKind, float, str, int]] = []
        self._kind = XKind.EPOCH
        self._last = 0.0
        self._full_name = ""

    def add(self, event: Event) -> None:
        """Take an event of a seed or a rollback."""
        data = event.data
        kind, at = position(data, event.time_unix_nano, BY_EPOCH)
        if event.type == "governor.rolled_back":
            text = f"rollback: {data.get('reason', 'no reason given')}"
            where = event.attempt, event.rank, data.get("env_id", 0), kind, at, text, event.seq
            self._rollbacks.append(where)
            del self._rollbacks[:-MOST_INTERVALS]
            return
        self._kind = kind
        self._full_name = event.full_name
        self._last = max(self._last, at)
        key = LaneKey(event.attempt, event.rank, data.get("env_id", 0), str(data.get("slot_id", "")))
        lane = self._lanes.setdefault(key, SlotHistory(event.producer_id))
        self._end_of_episode(lane, at)
        _TAKE[event.type](self, lane, event, data, at)

    def _end_of_episode(self, lane: SlotHistory, at: float) -> None:
        """Close what was open in an episode that is over."""
        if self._kind is not XKind.EPOCH or not lane.stays:
            return
        stay = lane.stays[-1]
        if stay.end is None and outer_of(stay.start) != outer_of(at):
            stay.end = float((outer_of(stay.start) + 1) << 20) - 1  # the last epoch there can be; drawn at the end

    def _germinated(self, lane: SlotHistory, event: Event, data: dict[str, Any], at: float) -> None:
        params = data.get("params")
        text = f"{data.get('blueprint_id', 'a seed')} planted, blend {data.get('blend_id', 'not recorded')}"
        text += f", {params:,} parameters" if params is not None else ""
        lane.marks.append(LaneMark(at, "germinated", text, event.seq, at))

    def _stage(self, lane: SlotHistory, event: Event, data: dict[str, Any], at: float) -> None:
        if lane.stays and lane.stays[-1].end is None:
            stay = lane.stays[-1]
            stay.end = at
            stay.notes += _numbers(data, ("accuracy_delta", "gradient_ratio", "epochs_in_stage"))
        stage = str(data.get("to_stage", ""))
        if stage in _SHOWN:
            seed, blueprint = str(data.get("seed_id", "")), str(data.get("blueprint_id", ""))
            stay = Stay(at, stage, event.seq, seed, blueprint)
            alpha = data.get("alpha")
            if alpha is not None:
                stay.heights.append((at, alpha))
            lane.stays.append(stay)
            lane.stays_count += 1

    def _blended(self, lane: SlotHistory, event: Event, data: dict[str, Any], at: float) -> None:
        alpha = data.get("alpha")
        if lane.stays and lane.stays[-1].end is None and alpha is not None:
            lane.stays[-1].heights.append((at, alpha))
            lane.stays[-1].last_seq = event.seq

    def _gate(self, lane: SlotHistory, event: Event, data: dict[str, Any], at: float) -> None:
        text = f"{data.get('gate', 'gate')} {_checks(data)}"
        gate = f"{data.get('gate')}|{data.get('seed_id')}"
        if data.get("passed"):
            if lane.stays and lane.stays[-1].end is None:
                lane.stays[-1].notes.append(f"passed {text}")
            return
        last = lane.marks[-1] if lane.marks else None
        if last is not None and last.gate == gate:
            last.times += 1
            last.last, last.text = at, f"refused {last.times} times by {text}"
            return
        lane.marks.append(LaneMark(at, "gate", f"refused by {text}", event.seq, at, gate=gate))

    def _fossilized(self, lane: SlotHistory, event: Event, data: dict[str, Any], at: float) -> None:
        text = f"{data.get('blueprint_id', 'seed')} kept: " + (
            ", ".join(_numbers(data, ("contribution", "accuracy_delta", "epochs_total"))) or "no number recorded"
        )
        lane.marks.append(LaneMark(at, "fossilized", text, event.seq, at))

    def _culled(self, lane: SlotHistory, event: Event, data: dict[str, Any], at: float) -> None:
        numbers = _numbers(data, ("contribution", "accuracy_delta", "epochs_total"))
        text = f"{data.get('blueprint_id', 'seed')} culled: {data.get('reason', 'no reason given')}"
        lane.marks.append(LaneMark(at, "culled", ", ".join([text, *numbers]), event.seq, at))

    def figures(self, look: Look) -> tuple[Figure, ...]:
        """Return the lanes, those of one environment together."""
        if not self._lanes:
            return ()
        keys = sorted(self._lanes, key=_order)
        shown = keys[: max(look.rows, 1)]
        lanes = tuple(self._lane(key, look) for key in shown)
        gaps = tuple(self._gaps(look))
        kinds = tuple((name.lower(), glyph) for name, glyph in KINDS)
        glyphs = tuple((GLYPHS[name], _MEANINGS[name]) for name in _MARKS)
        dropped = sum(max(0, lane.stays_count - MOST_INTERVALS) for lane in self._lanes.values())
        more = f" {dropped:,} of the oldest stays are not kept." if dropped else ""
        text = "Height is alpha, the weight of the seed in the host; a seed without a measured alpha is drawn thin."
        axis = x_axis(self._kind)
        return (Lanes("Seeds by slot", axis, kinds, glyphs, lanes, gaps, text + more, len(keys) - len(shown)),)

    def _lane(self, key: LaneKey, look: Look) -> Lane:
        lane = self._lanes[key]
        place = look.facts.places.place
        low, high = look.window
        final = self._end(look)

        def where(stored: float) -> float:
            outer, _ = divmod(int(stored), 1 << 20)
            placed = place(self._kind, stored)
            return min(placed, outer) if self._kind is XKind.EPOCH else placed

        intervals = []
        for stay in lane.stays:
            start = where(stay.start)
            end = None if stay.end is None else where(stay.end)
            over = self._kind is XKind.EPOCH and outer_of(stay.start) < outer_of(self._last)
            if end is None and over:  # its episode has ended, and nothing more was recorded of the slot
                end = float(outer_of(stay.start))
            elif end is None and look.facts.outcome:
                end = final
            if start > high or (end is not None and end < low):
                continue
            heights = tuple((where(at), height) for at, height in stay.heights)
            name = stay.stage.lower()
            seed = f"{name}: {stay.blueprint or 'blueprint not recorded'} ({stay.seed or 'no id'})"
            intervals.append(Interval(start, end, name, heights, "\n".join([seed, *stay.notes[-6:]]), stay.seq))
        marks = [
            Mark(where(mark.at), GLYPHS[mark.kind], mark.text, mark.seq, _TONES.get(mark.kind, Tone.PLAIN))
            for mark in lane.marks
            if low <= where(mark.at) <= high
        ]
        marks += [
            Mark(where(at), GLYPHS["rollback"], text, seq, Tone.BAD)
            for attempt, rank, env, kind, at, text, seq in self._rollbacks
            if (attempt, rank, env) == key[:3] and kind is self._kind
        ]
        stream = look.facts.stream_label(key.rank, key.attempt)
        group = " · ".join(part for part in (f"env {key.env}", stream) if part)
        return Lane(key.slot, group, tuple(intervals), tuple(marks))

    def _end(self, look: Look) -> float:
        """Return the drawn end of the last episode of a run that is over."""
        if self._kind is XKind.EPOCH:
            return float(outer_of(self._last))
        return look.facts.places.place(self._kind, self._last)

    def _gaps(self, look: Look) -> list[Gap]:
        facts = look.facts
        found = []
        for producer in {lane.producer for lane in self._lanes.values()}:
            for missing in facts.numbering.gaps(producer, self._full_name):
                around = self._around(producer, missing.first, missing.last)
                start, end = (None if at is None else facts.places.place(self._kind, at) for at in around)
                text = f"{missing.numbers:,} sequence numbers are missing here; what grew meanwhile is not known"
                found.append(Gap(start, end, missing.numbers, text))
        return found

    def _around(self, producer: bytes, first: int, last: int) -> tuple[float | None, float | None]:
        before: float | None = None
        after: float | None = None
        for lane in self._lanes.values():
            if lane.producer != producer:
                continue
            seen = [(stay.seq, stay.start) for stay in lane.stays] + [(mark.seq, mark.at) for mark in lane.marks]
            for seq, at in seen:
                if seq < first:
                    before = at if before is None else max(before, at)
                elif seq > last:
                    after = at if after is None else min(after, at)
        return before, after


_TAKE = {
    "seed.germinated": SeedLanes._germinated,  # noqa: SLF001 - the table of its own methods
    "seed.stage_changed": SeedLanes._stage,  # noqa: SLF001 - likewise
    "seed.blend_progressed": SeedLanes._blended,  # noqa: SLF001 - likewise
    "seed.gate_evaluated": SeedLanes._gate,  # noqa: SLF001 - likewise
    "seed.fossilized": SeedLanes._fossilized,  # noqa: SLF001 - likewise
    "seed.culled": SeedLanes._culled,  # noqa: SLF001 - likewise
}
_TONES = {"culled": Tone.WARNING, "fossilized": Tone.GOOD, "gate": Tone.MUTED}


def _order(key: LaneKey) -> tuple[Any, ...]:
    known = {"early": 0, "mid": 1, "late": 2}  # the order of the reference trainer's host; others by name
    return key.attempt, key.rank, key.env, known.get(key.slot, len(known)), key.slot


def _numbers(data: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    return [f"{name.replace('_', ' ')} {plain_number(data[name])}" for name in names if name in data]


def _checks(data: dict[str, Any]) -> str:
    """Return the checks of a gate with their numbers."""
    texts = []
    for check in data.get("checks", ()):
        value, threshold = check.get("value"), check.get("threshold")
        shown = "not measured" if value is None else plain_number(value)
        relation = "≥" if check.get("passed") else "<"
        needed = "" if threshold is None else f" {relation} {plain_number(threshold)}"
        texts.append(f"{check.get('metric', 'check')} {shown}{needed}")
    return f"({', '.join(texts)})" if texts else "(no check recorded)"


_WHERE = ("env_id", "inner_epoch", "global_epoch")
_SEED = (*_WHERE, "slot_id", "seed_id", "blueprint_id")
PANEL = Panel(
    "seeds",
    "Seeds",
    "What was planted where, how far it came, and why it went: ◆ kept, ✕ discarded, ⊘ refused by a gate.",
    {
        "seed.germinated": (*_WHERE, "slot_id", "blueprint_id", "blend_id", "params"),
        "seed.stage_changed": (*_SEED, "to_stage", "alpha", "accuracy_delta", "gradient_ratio", "epochs_in_stage"),
        "seed.blend_progressed": (*_WHERE, "slot_id", "alpha"),
        "seed.gate_evaluated": (
            *_WHERE,
            "slot_id",
            "seed_id",
            "gate",
            "passed",
            "checks.metric",
            "checks.value",
            "checks.threshold",
            "checks.passed",
        ),
        "seed.fossilized": (*_WHERE, "slot_id", "blueprint_id", "contribution", "accuracy_delta", "epochs_total"),
        "seed.culled": (
            *_WHERE,
            "slot_id",
            "blueprint_id",
            "reason",
            "contribution",
            "accuracy_delta",
            "epochs_total",
        ),
        "governor.rolled_back": ("env_id", "reason"),
    },
    SeedLanes,
    level="lifecycle",
)
