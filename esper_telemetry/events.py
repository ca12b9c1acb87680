"""The built-in event classes under one name: `run.emit(events.PpoUpdateCompleted, lr=3e-4)`.

Their fields, units and meanings stand in proto/esper_telemetry/v1/*.proto.
"""

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
    "BatchCompleted",
    "ClockReanchored",
    "DropReport",
    "EpochCompleted",
    "HistogramSummarized",
    "LevelChanged",
    "MaskHitRates",
    "PpoUpdateCompleted",
    "RewardSummary",
    "RunConfigured",
    "RunFinished",
    "RunResumed",
    "RunStarted",
    "ScalarLogged",
    "ScalarSummarized",
    "StepBlock",
    "StreamFinished",
    "TelemetryDisabled",
    "Throughput",
    "TrendChanged",
]
