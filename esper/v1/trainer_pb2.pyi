from esper_telemetry.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PanicReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PANIC_REASON_UNSPECIFIED: _ClassVar[PanicReason]
    PANIC_REASON_NON_FINITE_LOSS: _ClassVar[PanicReason]
    PANIC_REASON_LOBOTOMY: _ClassVar[PanicReason]
    PANIC_REASON_LOSS_SPIKE: _ClassVar[PanicReason]
    PANIC_REASON_REQUESTED: _ClassVar[PanicReason]

class LifecycleOp(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIFECYCLE_OP_UNSPECIFIED: _ClassVar[LifecycleOp]
    LIFECYCLE_OP_WAIT: _ClassVar[LifecycleOp]
    LIFECYCLE_OP_GERMINATE: _ClassVar[LifecycleOp]
    LIFECYCLE_OP_CULL: _ClassVar[LifecycleOp]
    LIFECYCLE_OP_FOSSILIZE: _ClassVar[LifecycleOp]

class UnavailableReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNAVAILABLE_REASON_UNSPECIFIED: _ClassVar[UnavailableReason]
    UNAVAILABLE_REASON_MISSING_BASELINE: _ClassVar[UnavailableReason]
    UNAVAILABLE_REASON_NO_SEED: _ClassVar[UnavailableReason]
    UNAVAILABLE_REASON_ALPHA_ZERO: _ClassVar[UnavailableReason]
    UNAVAILABLE_REASON_FOSSILIZED: _ClassVar[UnavailableReason]
    UNAVAILABLE_REASON_EMPTY_EVAL: _ClassVar[UnavailableReason]
    UNAVAILABLE_REASON_DISABLED: _ClassVar[UnavailableReason]
PANIC_REASON_UNSPECIFIED: PanicReason
PANIC_REASON_NON_FINITE_LOSS: PanicReason
PANIC_REASON_LOBOTOMY: PanicReason
PANIC_REASON_LOSS_SPIKE: PanicReason
PANIC_REASON_REQUESTED: PanicReason
LIFECYCLE_OP_UNSPECIFIED: LifecycleOp
LIFECYCLE_OP_WAIT: LifecycleOp
LIFECYCLE_OP_GERMINATE: LifecycleOp
LIFECYCLE_OP_CULL: LifecycleOp
LIFECYCLE_OP_FOSSILIZE: LifecycleOp
UNAVAILABLE_REASON_UNSPECIFIED: UnavailableReason
UNAVAILABLE_REASON_MISSING_BASELINE: UnavailableReason
UNAVAILABLE_REASON_NO_SEED: UnavailableReason
UNAVAILABLE_REASON_ALPHA_ZERO: UnavailableReason
UNAVAILABLE_REASON_FOSSILIZED: UnavailableReason
UNAVAILABLE_REASON_EMPTY_EVAL: UnavailableReason
UNAVAILABLE_REASON_DISABLED: UnavailableReason

class GovernorPanicked(_message.Message):
    __slots__ = ("reason", "loss", "threshold", "consecutive_panics")
    REASON_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CONSECUTIVE_PANICS_FIELD_NUMBER: _ClassVar[int]
    reason: PanicReason
    loss: float
    threshold: float
    consecutive_panics: int
    def __init__(self, reason: _Optional[_Union[PanicReason, str]] = ..., loss: _Optional[float] = ..., threshold: _Optional[float] = ..., consecutive_panics: _Optional[int] = ...) -> None: ...

class GovernorRolledBack(_message.Message):
    __slots__ = ("reason", "loss", "threshold", "consecutive_panics", "reward_penalty", "dropped_seed_ids")
    REASON_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CONSECUTIVE_PANICS_FIELD_NUMBER: _ClassVar[int]
    REWARD_PENALTY_FIELD_NUMBER: _ClassVar[int]
    DROPPED_SEED_IDS_FIELD_NUMBER: _ClassVar[int]
    reason: PanicReason
    loss: float
    threshold: float
    consecutive_panics: int
    reward_penalty: float
    dropped_seed_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, reason: _Optional[_Union[PanicReason, str]] = ..., loss: _Optional[float] = ..., threshold: _Optional[float] = ..., consecutive_panics: _Optional[int] = ..., reward_penalty: _Optional[float] = ..., dropped_seed_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ActionTaken(_message.Message):
    __slots__ = ("op", "slot_id", "blueprint_id", "blend_id", "op_masked", "slot_masked", "blueprint_masked", "blend_masked", "op_forced", "slot_forced", "blueprint_forced", "blend_forced", "action_success", "reward")
    OP_FIELD_NUMBER: _ClassVar[int]
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    BLEND_ID_FIELD_NUMBER: _ClassVar[int]
    OP_MASKED_FIELD_NUMBER: _ClassVar[int]
    SLOT_MASKED_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_MASKED_FIELD_NUMBER: _ClassVar[int]
    BLEND_MASKED_FIELD_NUMBER: _ClassVar[int]
    OP_FORCED_FIELD_NUMBER: _ClassVar[int]
    SLOT_FORCED_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_FORCED_FIELD_NUMBER: _ClassVar[int]
    BLEND_FORCED_FIELD_NUMBER: _ClassVar[int]
    ACTION_SUCCESS_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    op: LifecycleOp
    slot_id: str
    blueprint_id: str
    blend_id: str
    op_masked: bool
    slot_masked: bool
    blueprint_masked: bool
    blend_masked: bool
    op_forced: bool
    slot_forced: bool
    blueprint_forced: bool
    blend_forced: bool
    action_success: bool
    reward: float
    def __init__(self, op: _Optional[_Union[LifecycleOp, str]] = ..., slot_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., blend_id: _Optional[str] = ..., op_masked: bool = ..., slot_masked: bool = ..., blueprint_masked: bool = ..., blend_masked: bool = ..., op_forced: bool = ..., slot_forced: bool = ..., blueprint_forced: bool = ..., blend_forced: bool = ..., action_success: bool = ..., reward: _Optional[float] = ...) -> None: ...

class CounterfactualComputed(_message.Message):
    __slots__ = ("slot_id", "seed_id", "available", "reason", "real_accuracy", "baseline_accuracy", "contribution")
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REAL_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    BASELINE_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    slot_id: str
    seed_id: str
    available: bool
    reason: UnavailableReason
    real_accuracy: float
    baseline_accuracy: float
    contribution: float
    def __init__(self, slot_id: _Optional[str] = ..., seed_id: _Optional[str] = ..., available: bool = ..., reason: _Optional[_Union[UnavailableReason, str]] = ..., real_accuracy: _Optional[float] = ..., baseline_accuracy: _Optional[float] = ..., contribution: _Optional[float] = ...) -> None: ...

class HostCompleted(_message.Message):
    __slots__ = ("val_accuracy", "test_accuracy", "seeds_germinated", "seeds_fossilized", "seeds_culled", "rollbacks", "host_params", "seed_params")
    VAL_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    TEST_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    SEEDS_GERMINATED_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FOSSILIZED_FIELD_NUMBER: _ClassVar[int]
    SEEDS_CULLED_FIELD_NUMBER: _ClassVar[int]
    ROLLBACKS_FIELD_NUMBER: _ClassVar[int]
    HOST_PARAMS_FIELD_NUMBER: _ClassVar[int]
    SEED_PARAMS_FIELD_NUMBER: _ClassVar[int]
    val_accuracy: float
    test_accuracy: float
    seeds_germinated: int
    seeds_fossilized: int
    seeds_culled: int
    rollbacks: int
    host_params: int
    seed_params: int
    def __init__(self, val_accuracy: _Optional[float] = ..., test_accuracy: _Optional[float] = ..., seeds_germinated: _Optional[int] = ..., seeds_fossilized: _Optional[int] = ..., seeds_culled: _Optional[int] = ..., rollbacks: _Optional[int] = ..., host_params: _Optional[int] = ..., seed_params: _Optional[int] = ...) -> None: ...
