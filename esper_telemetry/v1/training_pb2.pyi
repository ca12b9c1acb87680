from esper_telemetry.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Trend(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TREND_UNSPECIFIED: _ClassVar[Trend]
    TREND_PLATEAU: _ClassVar[Trend]
    TREND_IMPROVEMENT: _ClassVar[Trend]
    TREND_DEGRADATION: _ClassVar[Trend]

class AnomalyKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANOMALY_KIND_UNSPECIFIED: _ClassVar[AnomalyKind]
    ANOMALY_KIND_RATIO_EXPLOSION: _ClassVar[AnomalyKind]
    ANOMALY_KIND_RATIO_COLLAPSE: _ClassVar[AnomalyKind]
    ANOMALY_KIND_VALUE_COLLAPSE: _ClassVar[AnomalyKind]
    ANOMALY_KIND_NUMERICAL_INSTABILITY: _ClassVar[AnomalyKind]
TREND_UNSPECIFIED: Trend
TREND_PLATEAU: Trend
TREND_IMPROVEMENT: Trend
TREND_DEGRADATION: Trend
ANOMALY_KIND_UNSPECIFIED: AnomalyKind
ANOMALY_KIND_RATIO_EXPLOSION: AnomalyKind
ANOMALY_KIND_RATIO_COLLAPSE: AnomalyKind
ANOMALY_KIND_VALUE_COLLAPSE: AnomalyKind
ANOMALY_KIND_NUMERICAL_INSTABILITY: AnomalyKind

class ScalarLogged(_message.Message):
    __slots__ = ("name", "value", "step", "unit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    step: int
    unit: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., step: _Optional[int] = ..., unit: _Optional[str] = ...) -> None: ...

class EpochCompleted(_message.Message):
    __slots__ = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "grad_norm", "epoch_time_ms")
    TRAIN_LOSS_FIELD_NUMBER: _ClassVar[int]
    TRAIN_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    VAL_LOSS_FIELD_NUMBER: _ClassVar[int]
    VAL_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    GRAD_NORM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    grad_norm: float
    epoch_time_ms: float
    def __init__(self, train_loss: _Optional[float] = ..., train_accuracy: _Optional[float] = ..., val_loss: _Optional[float] = ..., val_accuracy: _Optional[float] = ..., grad_norm: _Optional[float] = ..., epoch_time_ms: _Optional[float] = ...) -> None: ...

class BatchCompleted(_message.Message):
    __slots__ = ("mean_accuracy", "mean_return", "env_accuracies", "rolling_accuracy", "batch_time_ms")
    MEAN_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    MEAN_RETURN_FIELD_NUMBER: _ClassVar[int]
    ENV_ACCURACIES_FIELD_NUMBER: _ClassVar[int]
    ROLLING_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    BATCH_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    mean_accuracy: float
    mean_return: float
    env_accuracies: _containers.RepeatedScalarFieldContainer[float]
    rolling_accuracy: float
    batch_time_ms: float
    def __init__(self, mean_accuracy: _Optional[float] = ..., mean_return: _Optional[float] = ..., env_accuracies: _Optional[_Iterable[float]] = ..., rolling_accuracy: _Optional[float] = ..., batch_time_ms: _Optional[float] = ...) -> None: ...

class TrendChanged(_message.Message):
    __slots__ = ("trend", "rolling_accuracy", "previous_accuracy", "threshold")
    TREND_FIELD_NUMBER: _ClassVar[int]
    ROLLING_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    trend: Trend
    rolling_accuracy: float
    previous_accuracy: float
    threshold: float
    def __init__(self, trend: _Optional[_Union[Trend, str]] = ..., rolling_accuracy: _Optional[float] = ..., previous_accuracy: _Optional[float] = ..., threshold: _Optional[float] = ...) -> None: ...

class PpoUpdateCompleted(_message.Message):
    __slots__ = ("policy_loss", "value_loss", "entropy", "kl_divergence", "clip_fraction", "explained_variance", "lr", "grad_norm", "update_time_ms", "entropy_coef", "update_epochs", "skipped", "skip_reason", "ratio_min", "ratio_max", "heads", "loss", "clip_range", "action_std", "total_updates", "ratio_mean", "ratio_std", "advantage_mean", "advantage_std", "advantage_min", "advantage_max")
    POLICY_LOSS_FIELD_NUMBER: _ClassVar[int]
    VALUE_LOSS_FIELD_NUMBER: _ClassVar[int]
    ENTROPY_FIELD_NUMBER: _ClassVar[int]
    KL_DIVERGENCE_FIELD_NUMBER: _ClassVar[int]
    CLIP_FRACTION_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_VARIANCE_FIELD_NUMBER: _ClassVar[int]
    LR_FIELD_NUMBER: _ClassVar[int]
    GRAD_NORM_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ENTROPY_COEF_FIELD_NUMBER: _ClassVar[int]
    UPDATE_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    SKIP_REASON_FIELD_NUMBER: _ClassVar[int]
    RATIO_MIN_FIELD_NUMBER: _ClassVar[int]
    RATIO_MAX_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    CLIP_RANGE_FIELD_NUMBER: _ClassVar[int]
    ACTION_STD_FIELD_NUMBER: _ClassVar[int]
    TOTAL_UPDATES_FIELD_NUMBER: _ClassVar[int]
    RATIO_MEAN_FIELD_NUMBER: _ClassVar[int]
    RATIO_STD_FIELD_NUMBER: _ClassVar[int]
    ADVANTAGE_MEAN_FIELD_NUMBER: _ClassVar[int]
    ADVANTAGE_STD_FIELD_NUMBER: _ClassVar[int]
    ADVANTAGE_MIN_FIELD_NUMBER: _ClassVar[int]
    ADVANTAGE_MAX_FIELD_NUMBER: _ClassVar[int]
    policy_loss: float
    value_loss: float
    entropy: float
    kl_divergence: float
    clip_fraction: float
    explained_variance: float
    lr: float
    grad_norm: float
    update_time_ms: float
    entropy_coef: float
    update_epochs: int
    skipped: bool
    skip_reason: str
    ratio_min: float
    ratio_max: float
    heads: _containers.RepeatedCompositeFieldContainer[HeadStats]
    loss: float
    clip_range: float
    action_std: float
    total_updates: int
    ratio_mean: float
    ratio_std: float
    advantage_mean: float
    advantage_std: float
    advantage_min: float
    advantage_max: float
    def __init__(self, policy_loss: _Optional[float] = ..., value_loss: _Optional[float] = ..., entropy: _Optional[float] = ..., kl_divergence: _Optional[float] = ..., clip_fraction: _Optional[float] = ..., explained_variance: _Optional[float] = ..., lr: _Optional[float] = ..., grad_norm: _Optional[float] = ..., update_time_ms: _Optional[float] = ..., entropy_coef: _Optional[float] = ..., update_epochs: _Optional[int] = ..., skipped: bool = ..., skip_reason: _Optional[str] = ..., ratio_min: _Optional[float] = ..., ratio_max: _Optional[float] = ..., heads: _Optional[_Iterable[_Union[HeadStats, _Mapping]]] = ..., loss: _Optional[float] = ..., clip_range: _Optional[float] = ..., action_std: _Optional[float] = ..., total_updates: _Optional[int] = ..., ratio_mean: _Optional[float] = ..., ratio_std: _Optional[float] = ..., advantage_mean: _Optional[float] = ..., advantage_std: _Optional[float] = ..., advantage_min: _Optional[float] = ..., advantage_max: _Optional[float] = ...) -> None: ...

class HeadStats(_message.Message):
    __slots__ = ("head", "entropy", "clip_fraction", "grad_norm")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    ENTROPY_FIELD_NUMBER: _ClassVar[int]
    CLIP_FRACTION_FIELD_NUMBER: _ClassVar[int]
    GRAD_NORM_FIELD_NUMBER: _ClassVar[int]
    head: str
    entropy: float
    clip_fraction: float
    grad_norm: float
    def __init__(self, head: _Optional[str] = ..., entropy: _Optional[float] = ..., clip_fraction: _Optional[float] = ..., grad_norm: _Optional[float] = ...) -> None: ...

class AnomalyDetected(_message.Message):
    __slots__ = ("anomaly", "metric", "value", "threshold")
    ANOMALY_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    anomaly: AnomalyKind
    metric: str
    value: float
    threshold: float
    def __init__(self, anomaly: _Optional[_Union[AnomalyKind, str]] = ..., metric: _Optional[str] = ..., value: _Optional[float] = ..., threshold: _Optional[float] = ...) -> None: ...

class ActionDistribution(_message.Message):
    __slots__ = ("action_counts", "success_counts", "head", "total", "out_of_range", "invalid_rows", "left_out", "doubtful", "batches")
    class ActionCountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class SuccessCountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ACTION_COUNTS_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_COUNTS_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_RANGE_FIELD_NUMBER: _ClassVar[int]
    INVALID_ROWS_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    DOUBTFUL_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    action_counts: _containers.ScalarMap[str, int]
    success_counts: _containers.ScalarMap[str, int]
    head: str
    total: int
    out_of_range: int
    invalid_rows: int
    left_out: int
    doubtful: int
    batches: int
    def __init__(self, action_counts: _Optional[_Mapping[str, int]] = ..., success_counts: _Optional[_Mapping[str, int]] = ..., head: _Optional[str] = ..., total: _Optional[int] = ..., out_of_range: _Optional[int] = ..., invalid_rows: _Optional[int] = ..., left_out: _Optional[int] = ..., doubtful: _Optional[int] = ..., batches: _Optional[int] = ...) -> None: ...

class MaskHitRates(_message.Message):
    __slots__ = ("mask_hits", "mask_total", "heads", "batches", "invalid_rows", "left_out", "doubtful")
    class MaskHitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class MaskTotalEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    MASK_HITS_FIELD_NUMBER: _ClassVar[int]
    MASK_TOTAL_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    INVALID_ROWS_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    DOUBTFUL_FIELD_NUMBER: _ClassVar[int]
    mask_hits: _containers.ScalarMap[str, int]
    mask_total: _containers.ScalarMap[str, int]
    heads: _containers.RepeatedCompositeFieldContainer[HeadMaskCounts]
    batches: int
    invalid_rows: int
    left_out: int
    doubtful: int
    def __init__(self, mask_hits: _Optional[_Mapping[str, int]] = ..., mask_total: _Optional[_Mapping[str, int]] = ..., heads: _Optional[_Iterable[_Union[HeadMaskCounts, _Mapping]]] = ..., batches: _Optional[int] = ..., invalid_rows: _Optional[int] = ..., left_out: _Optional[int] = ..., doubtful: _Optional[int] = ...) -> None: ...

class CountersChecked(_message.Message):
    __slots__ = ("steps", "decisions", "invalid_rows", "left_out", "doubtful", "values_left_out", "values_doubtful", "misuse", "batches")
    class MisuseEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    STEPS_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    INVALID_ROWS_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    DOUBTFUL_FIELD_NUMBER: _ClassVar[int]
    VALUES_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    VALUES_DOUBTFUL_FIELD_NUMBER: _ClassVar[int]
    MISUSE_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    steps: int
    decisions: int
    invalid_rows: int
    left_out: int
    doubtful: int
    values_left_out: int
    values_doubtful: int
    misuse: _containers.ScalarMap[str, int]
    batches: int
    def __init__(self, steps: _Optional[int] = ..., decisions: _Optional[int] = ..., invalid_rows: _Optional[int] = ..., left_out: _Optional[int] = ..., doubtful: _Optional[int] = ..., values_left_out: _Optional[int] = ..., values_doubtful: _Optional[int] = ..., misuse: _Optional[_Mapping[str, int]] = ..., batches: _Optional[int] = ...) -> None: ...

class HeadMaskCounts(_message.Message):
    __slots__ = ("head", "total", "hit", "forced", "relevant", "empty", "invalid_selected", "out_of_range", "options", "masked", "chosen", "succeeded")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    HIT_FIELD_NUMBER: _ClassVar[int]
    FORCED_FIELD_NUMBER: _ClassVar[int]
    RELEVANT_FIELD_NUMBER: _ClassVar[int]
    EMPTY_FIELD_NUMBER: _ClassVar[int]
    INVALID_SELECTED_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_RANGE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    MASKED_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    head: str
    total: int
    hit: int
    forced: int
    relevant: int
    empty: int
    invalid_selected: int
    out_of_range: int
    options: _containers.RepeatedScalarFieldContainer[str]
    masked: _containers.RepeatedScalarFieldContainer[int]
    chosen: _containers.RepeatedScalarFieldContainer[int]
    succeeded: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, head: _Optional[str] = ..., total: _Optional[int] = ..., hit: _Optional[int] = ..., forced: _Optional[int] = ..., relevant: _Optional[int] = ..., empty: _Optional[int] = ..., invalid_selected: _Optional[int] = ..., out_of_range: _Optional[int] = ..., options: _Optional[_Iterable[str]] = ..., masked: _Optional[_Iterable[int]] = ..., chosen: _Optional[_Iterable[int]] = ..., succeeded: _Optional[_Iterable[int]] = ...) -> None: ...

class ScalarSummarized(_message.Message):
    __slots__ = ("name", "count", "sum", "min", "max", "non_finite", "mean", "std", "weight")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    name: str
    count: int
    sum: float
    min: float
    max: float
    non_finite: int
    mean: float
    std: float
    weight: float
    def __init__(self, name: _Optional[str] = ..., count: _Optional[int] = ..., sum: _Optional[float] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., non_finite: _Optional[int] = ..., mean: _Optional[float] = ..., std: _Optional[float] = ..., weight: _Optional[float] = ...) -> None: ...

class HistogramSummarized(_message.Message):
    __slots__ = ("name", "edges", "counts", "nan", "count", "min", "max", "mean", "std", "stride")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    NAN_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    STRIDE_FIELD_NUMBER: _ClassVar[int]
    name: str
    edges: _containers.RepeatedScalarFieldContainer[float]
    counts: _containers.RepeatedScalarFieldContainer[int]
    nan: int
    count: int
    min: float
    max: float
    mean: float
    std: float
    stride: int
    def __init__(self, name: _Optional[str] = ..., edges: _Optional[_Iterable[float]] = ..., counts: _Optional[_Iterable[int]] = ..., nan: _Optional[int] = ..., count: _Optional[int] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., mean: _Optional[float] = ..., std: _Optional[float] = ..., stride: _Optional[int] = ...) -> None: ...

class RewardSummary(_message.Message):
    __slots__ = ("summary", "steps")
    class SummaryEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    summary: _containers.ScalarMap[str, float]
    steps: int
    def __init__(self, summary: _Optional[_Mapping[str, float]] = ..., steps: _Optional[int] = ...) -> None: ...

class Throughput(_message.Message):
    __slots__ = ("step_time_ms", "dataloader_wait_ms", "fps", "steps")
    STEP_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    DATALOADER_WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    step_time_ms: float
    dataloader_wait_ms: float
    fps: float
    steps: int
    def __init__(self, step_time_ms: _Optional[float] = ..., dataloader_wait_ms: _Optional[float] = ..., fps: _Optional[float] = ..., steps: _Optional[int] = ...) -> None: ...
