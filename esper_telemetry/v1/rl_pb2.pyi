from esper_telemetry.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class EpisodeCompleted(_message.Message):
    __slots__ = ("episode_return", "length", "terminated", "truncated", "success", "duration_s")
    EPISODE_RETURN_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    TERMINATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    episode_return: float
    length: int
    terminated: bool
    truncated: bool
    success: bool
    duration_s: float
    def __init__(self, episode_return: _Optional[float] = ..., length: _Optional[int] = ..., terminated: bool = ..., truncated: bool = ..., success: bool = ..., duration_s: _Optional[float] = ...) -> None: ...

class RolloutCompleted(_message.Message):
    __slots__ = ("steps", "total_steps", "episodes", "return_mean", "length_mean", "success_rate", "rollout_time_ms")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    EPISODES_FIELD_NUMBER: _ClassVar[int]
    RETURN_MEAN_FIELD_NUMBER: _ClassVar[int]
    LENGTH_MEAN_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_RATE_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    steps: int
    total_steps: int
    episodes: int
    return_mean: float
    length_mean: float
    success_rate: float
    rollout_time_ms: float
    def __init__(self, steps: _Optional[int] = ..., total_steps: _Optional[int] = ..., episodes: _Optional[int] = ..., return_mean: _Optional[float] = ..., length_mean: _Optional[float] = ..., success_rate: _Optional[float] = ..., rollout_time_ms: _Optional[float] = ...) -> None: ...

class EvalCompleted(_message.Message):
    __slots__ = ("split", "episodes", "return_mean", "return_std", "return_min", "return_max", "length_mean", "success_rate", "deterministic", "loss", "samples", "metrics", "is_best", "eval_time_ms")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    EPISODES_FIELD_NUMBER: _ClassVar[int]
    RETURN_MEAN_FIELD_NUMBER: _ClassVar[int]
    RETURN_STD_FIELD_NUMBER: _ClassVar[int]
    RETURN_MIN_FIELD_NUMBER: _ClassVar[int]
    RETURN_MAX_FIELD_NUMBER: _ClassVar[int]
    LENGTH_MEAN_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_RATE_FIELD_NUMBER: _ClassVar[int]
    DETERMINISTIC_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    IS_BEST_FIELD_NUMBER: _ClassVar[int]
    EVAL_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    split: str
    episodes: int
    return_mean: float
    return_std: float
    return_min: float
    return_max: float
    length_mean: float
    success_rate: float
    deterministic: bool
    loss: float
    samples: int
    metrics: _containers.ScalarMap[str, float]
    is_best: bool
    eval_time_ms: float
    def __init__(self, split: _Optional[str] = ..., episodes: _Optional[int] = ..., return_mean: _Optional[float] = ..., return_std: _Optional[float] = ..., return_min: _Optional[float] = ..., return_max: _Optional[float] = ..., length_mean: _Optional[float] = ..., success_rate: _Optional[float] = ..., deterministic: bool = ..., loss: _Optional[float] = ..., samples: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ..., is_best: bool = ..., eval_time_ms: _Optional[float] = ...) -> None: ...

class OffPolicyUpdateCompleted(_message.Message):
    __slots__ = ("actor_loss", "critic_loss", "temperature_loss", "temperature", "q_mean", "q_target_mean", "td_error", "entropy", "exploration_rate", "lr", "grad_norm", "buffer_size", "updates", "total_updates", "update_time_ms")
    ACTOR_LOSS_FIELD_NUMBER: _ClassVar[int]
    CRITIC_LOSS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_LOSS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    Q_MEAN_FIELD_NUMBER: _ClassVar[int]
    Q_TARGET_MEAN_FIELD_NUMBER: _ClassVar[int]
    TD_ERROR_FIELD_NUMBER: _ClassVar[int]
    ENTROPY_FIELD_NUMBER: _ClassVar[int]
    EXPLORATION_RATE_FIELD_NUMBER: _ClassVar[int]
    LR_FIELD_NUMBER: _ClassVar[int]
    GRAD_NORM_FIELD_NUMBER: _ClassVar[int]
    BUFFER_SIZE_FIELD_NUMBER: _ClassVar[int]
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_UPDATES_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    actor_loss: float
    critic_loss: float
    temperature_loss: float
    temperature: float
    q_mean: float
    q_target_mean: float
    td_error: float
    entropy: float
    exploration_rate: float
    lr: float
    grad_norm: float
    buffer_size: int
    updates: int
    total_updates: int
    update_time_ms: float
    def __init__(self, actor_loss: _Optional[float] = ..., critic_loss: _Optional[float] = ..., temperature_loss: _Optional[float] = ..., temperature: _Optional[float] = ..., q_mean: _Optional[float] = ..., q_target_mean: _Optional[float] = ..., td_error: _Optional[float] = ..., entropy: _Optional[float] = ..., exploration_rate: _Optional[float] = ..., lr: _Optional[float] = ..., grad_norm: _Optional[float] = ..., buffer_size: _Optional[int] = ..., updates: _Optional[int] = ..., total_updates: _Optional[int] = ..., update_time_ms: _Optional[float] = ...) -> None: ...
