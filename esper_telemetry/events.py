"""The built-in event classes under one name: `run.emit(events.PpoUpdateCompleted, lr=3e-4)`.

Their fields, units and meanings stand in proto/esper_telemetry/v1/*.proto.
"""

from esper_telemetry.v1.logged_pb2 import ArtifactLogged, CheckpointLoaded, CheckpointSaved, ScalarsLogged, TextLogged
from esper_telemetry.v1.process_pb2 import PhaseTimed, RunHeartbeat, RunProgress, SystemSampled
from esper_telemetry.v1.rl_pb2 import EpisodeCompleted, EvalCompleted, OffPolicyUpdateCompleted, RolloutCompleted
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
    "RunFinished",
    "RunHeartbeat",
    "RunProgress",
    "RunStarted",
    "ScalarLogged",
    "ScalarSummarized",
    "ScalarsLogged",
    "StepBlock",
    "SystemSampled",
    "TelemetryDisabled",
    "TextLogged",
    "Throughput",
    "TrendChanged",
]
