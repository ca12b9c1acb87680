"""Counts of one batch as plain Python values, and the events that they become.

A snapshot has left the device: it may be read from any thread, any number of times.
What was not recorded is absent from its dicts, never zero.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from esper_telemetry.counters.cells import (
    ACTION_ROWS,
    ACTION_STEPS,
    DOUBTFUL,
    INVALID_ROWS,
    JOINT_ROWS,
    LEFT_OUT,
    MASK_ROWS,
    MASK_STEPS,
    MISUSE,
    MISUSES,
    SUCCESS_ROWS,
    VALUES_DOUBTFUL,
    VALUES_LEFT_OUT,
    layout_of,
)
from esper_telemetry.counters.summaries import HistogramSummary, Moments, ScalarSummary, joined_moments
from esper_telemetry.errors import CounterError
from esper_telemetry.v1 import steps_pb2, training_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    from esper_telemetry.counters.spec import CounterSpec


class Tag(NamedTuple):
    """Where a snapshot belongs.

    Attributes:
        first_batch_idx: first batch in it.
        batch_idx: last batch in it.
        coalesced: earlier flushes that had no free slot and are merged into this one.
        rank: distributed rank of the bank.
        device: device of the bank, as text.
    """

    first_batch_idx: int
    batch_idx: int
    coalesced: int
    rank: int
    device: str


class Snapshot:
    """Counts of one batch, or of several that were coalesced.

    Every count by head is a dict that holds the spec's heads, or is empty when its input
    was not recorded. The definitions are those of `HeadMaskCounts` in the schema.

    Attributes:
        spec: what was counted.
        tag: batches, rank and device.
        ints, reals: the cells of the bank (see `CellLayout`).
        blocks: fields of one StepBlock each; empty unless `steps=True`.
        invalid_rows: rows that were no decision (`valid` was False); they are in no other count.
        left_out, values_left_out: rows and values of records that could not be counted: written into before they
            were, of a form that does not fit, or lost to a failing device.
        doubtful, values_doubtful: rows and values that are counted, whose memory came again without a counted
            write; they may have been overwritten.
    """

    def __init__(
        self,
        spec: CounterSpec,
        ints: Sequence[int],
        reals: Sequence[float],
        tag: Tag,
        blocks: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.spec = spec
        self.ints = ints
        self.reals = reals
        self.tag = tag
        self.blocks = tuple(blocks)
        self._layout = layout_of(spec)
        self.batch_idx, self.first_batch_idx = tag.batch_idx, tag.first_batch_idx
        self.coalesced, self.rank, self.device = tag.coalesced, tag.rank, tag.device
        self.invalid_rows = ints[INVALID_ROWS]
        self.left_out, self.doubtful = ints[LEFT_OUT], ints[DOUBTFUL]
        self.values_left_out, self.values_doubtful = ints[VALUES_LEFT_OUT], ints[VALUES_DOUBTFUL]
        self.steps = ints[ACTION_STEPS] or ints[MASK_STEPS]
        self.action_rows, self.mask_rows = ints[ACTION_ROWS], ints[MASK_ROWS]

    def __repr__(self) -> str:
        batches = f"{self.first_batch_idx}-{self.batch_idx}" if self.coalesced else f"{self.batch_idx}"
        rows = self.mask_rows or self.action_rows
        return f"Snapshot(batch {batches}: {self.steps} steps, {rows} rows, {self.device}, rank {self.rank})"

    def _by_option(self, start: int, *, measured: bool) -> dict[str, list[int]]:
        if not measured:
            return {}
        offsets = self.spec.option_offsets
        return {
            head: list(self.ints[start + offsets[head] : start + offsets[head] + len(options)])
            for head, options in self.spec.heads.items()
        }

    def _by_head(self, start: int, minus_from: int | None = None) -> dict[str, int]:
        if not self.ints[MASK_STEPS]:
            return {}
        cells = self.ints[start : start + len(self.spec.heads)]
        counts = cells if minus_from is None else [minus_from - cell for cell in cells]
        return dict(zip(self.spec.heads, counts, strict=True))

    @cached_property
    def rows(self) -> dict[str, int]:
        """Decisions (mask_total)."""
        return dict.fromkeys(self.spec.heads, self.mask_rows or self.action_rows) if self.steps else {}

    @cached_property
    def restricted(self) -> dict[str, int]:
        """Decisions in which at least one option was masked (mask_hits)."""
        return self._by_head(self._layout.free, minus_from=self.mask_rows)

    @cached_property
    def forced(self) -> dict[str, int]:
        """Decisions in which exactly one option was valid."""
        return self._by_head(self._layout.forced)

    @cached_property
    def empty(self) -> dict[str, int]:
        """Decisions in which no option was valid: a bug of the masks, or rows that were no decision."""
        return self._by_head(self._layout.nonempty, minus_from=self.mask_rows)

    @cached_property
    def action_count(self) -> dict[str, list[int]]:
        """By option: decisions for it."""
        return self._by_option(self._layout.chosen, measured=self.ints[ACTION_STEPS] > 0)

    @cached_property
    def success_count(self) -> dict[str, list[int]]:
        """By option: decisions for it that took effect; empty unless every action came with its success."""
        measured = self.action_rows > 0 and self.ints[SUCCESS_ROWS] == self.action_rows
        return self._by_option(self._layout.succeeded, measured=measured)

    @cached_property
    def valid_count(self) -> dict[str, list[int]]:
        """By option: decisions in which it was valid."""
        return self._by_option(self._layout.valid, measured=self.ints[MASK_STEPS] > 0)

    @cached_property
    def masked_count(self) -> dict[str, list[int]]:
        """By option: decisions in which it was masked."""
        return {head: [self.mask_rows - valid for valid in counts] for head, counts in self.valid_count.items()}

    @cached_property
    def out_of_range(self) -> dict[str, int]:
        """Decisions for no option at all, rows less the sum of `action_count`: a bug if not 0."""
        return {head: self.action_rows - sum(counts) for head, counts in self.action_count.items()}

    @cached_property
    def invalid_selected(self) -> dict[str, int]:
        """Decisions for a masked option: a bug of the sampling, or actions not sampled with these masks.

        Needs actions and masks in one call.
        """
        together = self.ints[MASK_STEPS] > 0 and self.ints[JOINT_ROWS] == self.action_rows
        if not together:
            return {}
        valid = self._by_option(self._layout.chosen_valid, measured=True)
        return {head: sum(counts) - sum(valid[head]) for head, counts in self.action_count.items()}

    @cached_property
    def relevant(self) -> dict[str, int]:
        """Decisions in which the head mattered, by the spec's `relevant`."""
        counts = {}
        for head in self.action_count:
            decider, options = self.spec.relevant.get(head, ("", ()))
            counts[head] = sum(self.action_count[decider][i] for i in options) if decider else self.action_rows
        return counts

    @cached_property
    def scalars(self) -> dict[str, ScalarSummary]:
        """Name → summary, for the scalars of which a value was recorded."""
        place, n = self._layout, len(self.spec.scalars)
        summaries = {}
        for i, name in enumerate(self.spec.scalars):
            count, finite = self.ints[place.recorded + i], self.ints[place.finite + i]
            weight, total, squares, smallest, largest = self.reals[i::n]
            if count:
                low, high = (smallest, largest) if finite else (None, None)
                summaries[name] = ScalarSummary(count, total, low, high, count - finite, weight, squares)
        return summaries

    @cached_property
    def histograms(self) -> dict[str, HistogramSummary]:
        """Name → histogram, for those of which a value was recorded."""
        found = {}
        for start, (name, edges) in zip(self._layout.buckets, self.spec.histograms.items(), strict=True):
            recorded, *below = self.ints[start : start + len(edges) + 2]
            counts = [high - low for low, high in zip([0, *below], below, strict=False)]
            if recorded:
                found[name] = HistogramSummary(edges, counts, recorded - below[-1])
        return found

    @cached_property
    def misuse(self) -> dict[str, int]:
        """Kind → how often the bank was misused since the snapshot before; empty when it was not."""
        counts = self.ints[MISUSE : MISUSE + len(MISUSES)]
        return {kind: count for kind, count in zip(MISUSES, counts, strict=True) if count}

    @property
    def context(self) -> dict[str, Any]:
        """Context to bind before emitting: the batch and the device."""
        return {"batch_idx": self.batch_idx, "device": self.device}

    def problems(self) -> list[str]:
        """Return what the bug detectors found, one line each; empty when all is well."""
        if self._is_sound():
            return []
        detectors = {
            "chose no option at all (index out of range)": self.out_of_range,
            "chose a masked option": self.invalid_selected,
            "had every option masked": self.empty,
        }
        return [
            f"head {head!r}: {count} of {self.rows[head]} decisions {what}"
            for what, counts in detectors.items()
            for head, count in counts.items()
            if count
        ]

    def _is_sound(self) -> bool:
        """Tell whether no detector can have found anything, from sums over all heads: a few microseconds."""
        place, heads = self._layout, len(self.spec.heads)
        chosen = sum(self.ints[place.chosen : place.chosen_valid])
        chosen_valid = sum(self.ints[place.chosen_valid : place.valid])
        nonempty = sum(self.ints[place.nonempty : place.forced])
        all_valid = chosen_valid == chosen or self.ints[JOINT_ROWS] != self.action_rows
        return chosen == heads * self.action_rows and nonempty == heads * self.mask_rows and all_valid

    def events(self) -> Iterator[tuple[type[Message], dict[str, Any]]]:
        """Yield (event class, fields) for each event of this snapshot, ready for `run.emit(event_class, **fields)`.

        They require batch_idx: bind it first, or use `emit_snapshot`. The definitions are the schema's comments
        (`HeadMaskCounts`, `CountersChecked`); here each count only finds its field, and every count has one.
        """
        for head in sorted(self.action_count, key=lambda head: head != self.spec.deciding_head):
            yield training_pb2.ActionDistribution, _action_distribution(self, head)
        if self.restricted:
            yield training_pb2.MaskHitRates, _mask_hit_rates(self)
        for name, summary in self.scalars.items():
            yield training_pb2.ScalarSummarized, {"name": name, **_summary(summary)}
        for name, histogram in self.histograms.items():
            yield (
                training_pb2.HistogramSummarized,
                {"name": name, "edges": list(histogram.edges), "counts": histogram.counts, "nan": histogram.nan},
            )
        for block in self.blocks:
            yield steps_pb2.StepBlock, block
        if any(self.ints):
            yield training_pb2.CountersChecked, _checked(self)


def merge_snapshots(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return one snapshot with the sum of all counts: banks of several devices, or ranks, of the same spec.

    Raises:
        CounterError: there is none, or two count different things.
    """
    every = list(snapshots)
    if not every:
        raise CounterError("merge_snapshots: no snapshot was given")
    first = every[0]
    if any(repr(other.spec) != repr(first.spec) or len(other.ints) != len(first.ints) for other in every):
        raise CounterError("merge_snapshots: the snapshots have different specs; merge those of one spec")
    reals = _merged_reals([other.reals for other in every], len(first.spec.scalars))
    tag = Tag(
        first_batch_idx=min(other.first_batch_idx for other in every),
        batch_idx=max(other.batch_idx for other in every),
        coalesced=max(other.coalesced for other in every),
        rank=min(other.rank for other in every),
        device=",".join(sorted({other.device for other in every})),
    )
    ints = [sum(cells) for cells in zip(*(other.ints for other in every), strict=True)]
    return Snapshot(first.spec, ints, reals, tag, [block for other in every for block in other.blocks])


def _merged_reals(every: Sequence[Sequence[float]], n: int) -> list[float]:
    sets = [joined_moments(Moments(*reals[i : 3 * n : n]) for reals in every) for i in range(n)]
    mins = [min(reals[3 * n + i] for reals in every) for i in range(n)]
    maxs = [max(reals[4 * n + i] for reals in every) for i in range(n)]
    return [*(cell for row in zip(*sets, strict=True) for cell in row), *mins, *maxs]


def _action_distribution(snapshot: Snapshot, head: str) -> dict[str, Any]:
    options = snapshot.spec.heads[head]
    fields: dict[str, Any] = {
        "head": head,
        "action_counts": dict(zip(options, snapshot.action_count[head], strict=True)),
        "total": snapshot.action_rows,
        "out_of_range": snapshot.out_of_range[head],
        **_rows_beside(snapshot),
    }
    if snapshot.success_count:
        fields["success_counts"] = dict(zip(options, snapshot.success_count[head], strict=True))
    return fields


def _mask_hit_rates(snapshot: Snapshot) -> dict[str, Any]:
    by_name: dict[str, Mapping[str, Any]] = {
        "total": snapshot.rows,
        "hit": snapshot.restricted,
        "forced": snapshot.forced,
        "relevant": snapshot.relevant,
        "empty": snapshot.empty,
        "invalid_selected": snapshot.invalid_selected,
        "out_of_range": snapshot.out_of_range,
        "options": {head: list(options) for head, options in snapshot.spec.heads.items()},
        "masked": snapshot.masked_count,
        "chosen": snapshot.action_count,
        "succeeded": snapshot.success_count,
    }
    heads = [
        {"head": head, **{name: counts[head] for name, counts in by_name.items() if head in counts}}
        for head in snapshot.spec.heads
    ]
    return {"mask_hits": snapshot.restricted, "mask_total": snapshot.rows, "heads": heads, **_rows_beside(snapshot)}


def _rows_beside(snapshot: Snapshot) -> dict[str, int]:
    """Return what goes beside the counts of heads: the rows that are not in them, or may be wrong."""
    return {
        "invalid_rows": snapshot.invalid_rows,
        "left_out": snapshot.left_out,
        "doubtful": snapshot.doubtful,
        "batches": snapshot.coalesced + 1,
    }


def _summary(summary: ScalarSummary) -> dict[str, Any]:
    fields = {"count": summary.count, "non_finite": summary.non_finite}
    measured = {
        "sum": summary.sum if summary.mean is not None else None,
        "min": summary.min,
        "max": summary.max,
        "mean": summary.mean,
        "std": summary.std,
        "weight": summary.weight if summary.weight != summary.count - summary.non_finite else None,
    }
    # finite values whose sum overflows: unset is right, infinity is not
    return fields | {key: value for key, value in measured.items() if value is not None and math.isfinite(value)}


def _checked(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "steps": snapshot.steps,
        "decisions": snapshot.action_rows or snapshot.mask_rows,
        **_rows_beside(snapshot),
        "values_left_out": snapshot.values_left_out,
        "values_doubtful": snapshot.values_doubtful,
        "misuse": snapshot.misuse,
    }
