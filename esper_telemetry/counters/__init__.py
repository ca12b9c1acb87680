"""COUNT on the device without a sync: actions, masks and values of a policy, read once per batch.

Strategy: recording a step keeps references to its tensors, or copies of what may change, and
does nothing else; once per batch they are folded on the device and copied to the host behind
the trainer's back. What leaves are plain numbers and the events they become; what could not be
counted leaves with them. This folder never waits inside the
training loop, never reads a tensor's value, and knows no run: the trainer hands the events
to one. torch and numpy are imported when a bank is asked for.
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
