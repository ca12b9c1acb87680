"""The built-in event classes under one name: `run.emit(events.PpoUpdateCompleted, lr=3e-4)`.

`help(events.PpoUpdateCompleted)` lists fields, units and labels, as proto/esper_telemetry/v1/*.proto has them. A
class gets that docstring when it is first asked for here, so that those that are not used cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esper_telemetry.schema.docs import event_doc
from esper_telemetry.v1 import logged_pb2, process_pb2, rl_pb2, run_pb2, steps_pb2, training_pb2

if TYPE_CHECKING:
    from esper_telemetry.v1.logged_pb2 import (
        ArtifactLogged,
        CheckpointLoaded,
        CheckpointSaved,
        ScalarsLogged,
        TextLogged,
    )
    from esper_telemetry.v1.process_pb2 import PhaseTimed, RunHeartbeat, RunProgress, SystemSampled
    from esper_telemetry.v1.rl_pb2 import EpisodeCompleted, EvalCompleted, OffPolicyUpdateCompleted, RolloutCompleted
    from esper_telemetry.v1.run_pb2 import (
        ClockReanchored,
        DropReport,
        LevelChanged,
        RunConfigured,
        RunFinished,
        RunResumed,
        RunStarted,
        StreamFinished,
        TelemetryDisabled,
    )
    from esper_telemetry.v1.steps_pb2 import StepBlock
    from esper_telemetry.v1.training_pb2 import (
        ActionDistribution,
        AnomalyDetected,
        BatchCompleted,
        CountersChecked,
        EpochCompleted,
        HistogramSummarized,
        MaskHitRates,
        PpoUpdateCompleted,
        RewardSummary,
        ScalarLogged,
        ScalarSummarized,
        Throughput,
        TrendChanged,
    )

__all__ = [
    "ActionDistribution",
    "AnomalyDetected",
    "ArtifactLogged",
    "BatchCompleted",
    "CheckpointLoaded",
    "CheckpointSaved",
    "ClockReanchored",
    "CountersChecked",
    "DropReport",
    "EpisodeCompleted",
    "EpochCompleted",
    "EvalCompleted",
    "HistogramSummarized",
    "LevelChanged",
    "MaskHitRates",
    "OffPolicyUpdateCompleted",
    "PhaseTimed",
    "PpoUpdateCompleted",
    "RewardSummary",
    "RolloutCompleted",
    "RunConfigured",
    "RunFinished",
    "RunHeartbeat",
    "RunProgress",
    "RunResumed",
    "RunStarted",
    "ScalarLogged",
    "ScalarSummarized",
    "ScalarsLogged",
    "StepBlock",
    "StreamFinished",
    "SystemSampled",
    "TelemetryDisabled",
    "TextLogged",
    "Throughput",
    "TrendChanged",
]

_MODULES = (run_pb2, training_pb2, rl_pb2, logged_pb2, process_pb2, steps_pb2)


def __getattr__(name: str) -> Any:
    """Return an event class, documented, on its first use (PEP 562)."""
    module = next((module for module in _MODULES if name in __all__ and hasattr(module, name)), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no event {name!r}; its events are {', '.join(__all__)}")
    cls: Any = getattr(module, name)
    cls.__doc__ = event_doc(cls)
    globals()[name] = cls
    return cls


def __dir__() -> list[str]:
    return list(__all__)
