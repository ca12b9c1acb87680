"""From a snapshot to events: which class, which field, and what stays unset.

The definitions stand in the schema's comments (`HeadMaskCounts`); here each count only
finds its field. It knows no run: whoever has `bind` and `emit` will do.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from esper_telemetry.v1 import steps_pb2, training_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.message import Message

    from esper_telemetry.counters.snapshot import Snapshot


class Emitter(Protocol):
    """What `emit_snapshot` needs of a run: the recorder's `Run` has it."""

    def bind(self, **context: Any) -> Any:
        """Return an emitter with `context`."""


def events_of(snapshot: Snapshot) -> Iterator[tuple[type[Message], dict[str, Any]]]:
    """Yield (event class, fields) for each event of `snapshot`."""
    if snapshot.action_count:
        yield training_pb2.ActionDistribution, _action_distribution(snapshot)
    if snapshot.mask_rows and snapshot.spec.heads:
        yield training_pb2.MaskHitRates, _mask_hit_rates(snapshot)
    for name, summary in snapshot.scalars.items():
        fields = {key: value for key, value in asdict(summary).items() if value is not None}
        if summary.count == summary.non_finite:
            del fields["sum"]
        elif not math.isfinite(summary.sum):
            del fields["sum"]  # finite values whose sum overflows: a gap says it better than infinity
        yield training_pb2.ScalarSummarized, {"name": name, **fields}
    for name, histogram in snapshot.histograms.items():
        yield (
            training_pb2.HistogramSummarized,
            {"name": name, "edges": list(histogram.edges), "counts": histogram.counts, "nan": histogram.nan},
        )
    for block in snapshot.blocks:
        yield steps_pb2.StepBlock, block


def _action_distribution(snapshot: Snapshot) -> dict[str, Any]:
    head = snapshot.spec.deciding_head
    options = snapshot.spec.heads[head]
    fields: dict[str, Any] = {
        "head": head,
        "action_counts": dict(zip(options, snapshot.action_count[head], strict=True)),
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
    return {
        "mask_hits": snapshot.restricted,
        "mask_total": snapshot.rows,
        "heads": heads,
        "batches": snapshot.coalesced + 1,
    }


def emit_snapshot(run: Emitter, snapshot: Snapshot, **context: Any) -> None:
    """Emit every event of `snapshot` on `run`, bound to its batch and device and to `context`.

    Args:
        run: a `Run` or anything with its `bind` and `emit`.
        snapshot: what `poll`, `close` or `PendingSnapshot.result` returned.
        context: further context; `episodes_completed` is required by the events of heads.
    """
    bound = run.bind(**{**snapshot.context, **context})
    for event_class, fields in snapshot.events():
        bound.emit(event_class, **fields)
