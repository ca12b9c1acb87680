"""The built-in event classes under one name: `run.emit(events.PpoUpdateCompleted, lr=3e-4)`.

Their fields, units and meanings stand in proto/esper_telemetry/v1/*.proto.
"""

from esper_telemetry.v1.run_pb2 import (
    DropReport,
    LevelChanged,
    RunFinished,
    RunStarted,
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
    "BatchCompleted",
    "CountersChecked",
    "DropReport",
    "EpochCompleted",
    "HistogramSummarized",
    "LevelChanged",
    "MaskHitRates",
    "PpoUpdateCompleted",
    "RewardSummary",
    "RunFinished",
    "RunStarted",
    "ScalarLogged",
    "ScalarSummarized",
    "StepBlock",
    "TelemetryDisabled",
    "Throughput",
    "TrendChanged",
]
