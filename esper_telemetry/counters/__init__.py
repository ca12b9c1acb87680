"""COUNT on the device without a sync: actions, masks and values of a policy, read once per batch.

Recording a step copies its bytes on the host, and keeps references to its tensors on a device; it
computes nothing. Once per batch the records are folded on the device, and one copy goes to the host
while the trainer continues. What leaves are plain numbers and the events that they become; what could not be
counted leaves with them. This folder never waits inside the training loop, never reads a tensor's
value there, and knows no run: the trainer emits the events. torch and numpy are imported when a
bank is asked for.

The nearest design elsewhere is torchtitan's `tensor_logging` (read in November 2026): statistics of model
tensors in fixed slots on the device, read in one packed drain. Point by point:

    at a call     it scans the tensor and adds to the slot, one kernel a tensor; here nothing is launched for
                  a record, and a gradient watch launches six calls a step for all parameters.
    a step that   there a flag on the device turns the scan off (a cadence of 5 steps by default); here each
    is not read   step is counted, because a decision that was skipped is missing in a mask rate.
    what is held  eight float32 cells a slot: counts are exact up to 2^24; here int64 counts, float64 moments
                  and their spread about the mean, histograms, weights, rows that were no decision.
    how it leaves an all-reduce of sums, one of maxima, then a copy for which the host waits, in the training
                  step; here one copy into pinned memory that is polled, and by default no collective call: a
                  reader adds the ranks. With `process_group` a flush is up to five collective calls.
    not read      there the next read has it; here too: it is coalesced, and the event has the number of batches.
    compiled and  the operation is a part of the graph there, and here with `update_` or mode="inline"; a deferred
    captured      bank records beside a graph.
    recomputation its recorder is off while a checkpoint is computed again; here gradients are read where the
                  optimizer steps, which happens once.
    memory that   no concern there: a tensor is scanned at the call. Here it is copied (host) or watched (device),
    is reused     and what could not be counted is in the event.
    names         registered by module there, before training; here a spec, and heads of an action space.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from esper_telemetry.counters.pending import PendingSnapshot, emit_snapshot
from esper_telemetry.counters.snapshot import Snapshot, merge_snapshots
from esper_telemetry.counters.spec import CounterSpec, StepRow, from_space
from esper_telemetry.counters.summaries import HistogramSummary, ScalarSummary
from esper_telemetry.errors import MissingExtraError

if TYPE_CHECKING:
    from esper_telemetry.counters.device import DeviceCounters
    from esper_telemetry.counters.gradient_watch import GradientWatch
    from esper_telemetry.counters.host_counters import HostCounters
    from esper_telemetry.counters.state import CounterState, new_state
    from esper_telemetry.counters.update import update_

__all__ = [
    "CounterSpec",
    "CounterState",
    "DeviceCounters",
    "GradientWatch",
    "HistogramSummary",
    "HostCounters",
    "PendingSnapshot",
    "ScalarSummary",
    "Snapshot",
    "StepRow",
    "emit_snapshot",
    "from_space",
    "merge_snapshots",
    "new_state",
    "update_",
]

_LAZY = {
    "CounterState": "state",
    "DeviceCounters": "device",
    "GradientWatch": "gradient_watch",
    "HostCounters": "host_counters",
    "new_state": "state",
    "update_": "update",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch or numpy when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "numpy"):
            raise
        raise MissingExtraError(error.name, "torch") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what is loaded late too, where it can be: `help(esper_telemetry.counters)` shows it."""
    late = set(_LAZY) if find_spec("torch") is not None and find_spec("numpy") is not None else set()
    return sorted({*globals(), *late})
