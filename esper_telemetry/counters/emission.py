"""From a snapshot to events: which class, which field, and what stays unset.

The definitions stand in the schema's comments (`HeadMaskCounts`, `CountersChecked`); here each
count only finds its field, and every count has one. It knows no run: whoever has `bind` and
`emit` will do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from esper_telemetry.v1 import steps_pb2, training_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.message import Message

    from esper_telemetry.counters.snapshot import Snapshot
    from esper_telemetry.counters.summary import ScalarSummary

_SUMMED = ("invalid_rows", "left_out", "doubtful", "values_left_out", "values_doubtful")


class Emitter(Protocol):
    """What `emit_snapshot` needs of a run: the recorder's `Run` has it."""

    def bind(self, **context: Any) -> Any:
        """Return an emitter with `context`."""


def events_of(snapshot: Snapshot) -> Iterator[tuple[type[Message], dict[str, Any]]]:
    """Yield (event class, fields) for each event of `snapshot`."""
    for head in sorted(snapshot.action_count, key=lambda head: head != snapshot.spec.deciding_head):
        yield training_pb2.ActionDistribution, _action_distribution(snapshot, head)
    if snapshot.restricted:
        yield training_pb2.MaskHitRates, _mask_hit_rates(snapshot)
    for name, summary in snapshot.scalars.items():
        yield training_pb2.ScalarSummarized, {"name": name, **_summary(summary)}
    for name, histogram in snapshot.histograms.items():
        yield (
            training_pb2.HistogramSummarized,
            {"name": name, "edges": list(histogram.edges), "counts": histogram.counts, "nan": histogram.nan},
        )
    for block in snapshot.blocks:
        yield steps_pb2.StepBlock, block
    if any(snapshot.ints):
        yield training_pb2.CountersChecked, _checked(snapshot)


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
    """Return what stands beside the counts of heads: the rows that are not in them, or may be wrong."""
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
    # finite values whose sum overflows: a gap says it better than infinity
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


def emit_snapshot(run: Emitter, snapshot: Snapshot, **context: Any) -> None:
    """Emit every event of `snapshot` on `run`, bound to its batch and device and to `context`.

    What was left out, is doubtful or was misuse is also summed into `run.results`, where `run` has that, and so
    stands in the last event of the run: "counters/left_out", "counters/misuse/thread" and so on.

    Args:
        run: a `Run` or anything with its `bind` and `emit`.
        snapshot: what `poll`, `close` or `PendingSnapshot.result` returned.
        context: further context, e.g. episodes_completed.
    """
    bound = run.bind(**{**snapshot.context, **context})
    for event_class, fields in snapshot.events():
        bound.emit(event_class, **fields)
    results = getattr(run, "results", None)
    if isinstance(results, dict):
        add_troubles(results, snapshot)


def add_troubles(results: dict[str, Any], snapshot: Snapshot) -> None:
    """Add to `results` what was left out of a snapshot, is doubtful in it, or was misuse; zeros are not added."""
    troubles = {name: getattr(snapshot, name) for name in _SUMMED}
    troubles |= {f"misuse/{kind}": count for kind, count in snapshot.misuse.items()}
    for name, count in troubles.items():
        if count:
            key = f"counters/{name}"
            results[key] = results.get(key, 0) + count
