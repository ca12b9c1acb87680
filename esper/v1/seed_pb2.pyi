from esper_telemetry.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SeedStage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEED_STAGE_UNSPECIFIED: _ClassVar[SeedStage]
    SEED_STAGE_DORMANT: _ClassVar[SeedStage]
    SEED_STAGE_GERMINATED: _ClassVar[SeedStage]
    SEED_STAGE_TRAINING: _ClassVar[SeedStage]
    SEED_STAGE_BLENDING: _ClassVar[SeedStage]
    SEED_STAGE_PROBATIONARY: _ClassVar[SeedStage]
    SEED_STAGE_FOSSILIZED: _ClassVar[SeedStage]
    SEED_STAGE_CULLED: _ClassVar[SeedStage]
    SEED_STAGE_EMBARGOED: _ClassVar[SeedStage]
    SEED_STAGE_RESETTING: _ClassVar[SeedStage]

class Gate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GATE_UNSPECIFIED: _ClassVar[Gate]
    GATE_G0: _ClassVar[Gate]
    GATE_G1: _ClassVar[Gate]
    GATE_G2: _ClassVar[Gate]
    GATE_G3: _ClassVar[Gate]
    GATE_G5: _ClassVar[Gate]

class GateMetric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GATE_METRIC_UNSPECIFIED: _ClassVar[GateMetric]
    GATE_METRIC_IDENTITY: _ClassVar[GateMetric]
    GATE_METRIC_STAGE: _ClassVar[GateMetric]
    GATE_METRIC_EPOCHS_IN_STAGE: _ClassVar[GateMetric]
    GATE_METRIC_IMPROVEMENT: _ClassVar[GateMetric]
    GATE_METRIC_GRADIENT_RATIO: _ClassVar[GateMetric]
    GATE_METRIC_ALPHA: _ClassVar[GateMetric]
    GATE_METRIC_CONTRIBUTION: _ClassVar[GateMetric]
    GATE_METRIC_HEALTHY: _ClassVar[GateMetric]
SEED_STAGE_UNSPECIFIED: SeedStage
SEED_STAGE_DORMANT: SeedStage
SEED_STAGE_GERMINATED: SeedStage
SEED_STAGE_TRAINING: SeedStage
SEED_STAGE_BLENDING: SeedStage
SEED_STAGE_PROBATIONARY: SeedStage
SEED_STAGE_FOSSILIZED: SeedStage
SEED_STAGE_CULLED: SeedStage
SEED_STAGE_EMBARGOED: SeedStage
SEED_STAGE_RESETTING: SeedStage
GATE_UNSPECIFIED: Gate
GATE_G0: Gate
GATE_G1: Gate
GATE_G2: Gate
GATE_G3: Gate
GATE_G5: Gate
GATE_METRIC_UNSPECIFIED: GateMetric
GATE_METRIC_IDENTITY: GateMetric
GATE_METRIC_STAGE: GateMetric
GATE_METRIC_EPOCHS_IN_STAGE: GateMetric
GATE_METRIC_IMPROVEMENT: GateMetric
GATE_METRIC_GRADIENT_RATIO: GateMetric
GATE_METRIC_ALPHA: GateMetric
GATE_METRIC_CONTRIBUTION: GateMetric
GATE_METRIC_HEALTHY: GateMetric

class SeedGerminated(_message.Message):
    __slots__ = ("slot_id", "seed_id", "blueprint_id", "blend_id", "alpha", "params")
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    BLEND_ID_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    slot_id: str
    seed_id: str
    blueprint_id: str
    blend_id: str
    alpha: float
    params: int
    def __init__(self, slot_id: _Optional[str] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., blend_id: _Optional[str] = ..., alpha: _Optional[float] = ..., params: _Optional[int] = ...) -> None: ...

class SeedStageChanged(_message.Message):
    __slots__ = ("slot_id", "seed_id", "blueprint_id", "from_stage", "to_stage", "alpha", "epochs_in_stage", "accuracy_delta", "gradient_ratio")
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_STAGE_FIELD_NUMBER: _ClassVar[int]
    TO_STAGE_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_IN_STAGE_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_DELTA_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_RATIO_FIELD_NUMBER: _ClassVar[int]
    slot_id: str
    seed_id: str
    blueprint_id: str
    from_stage: SeedStage
    to_stage: SeedStage
    alpha: float
    epochs_in_stage: int
    accuracy_delta: float
    gradient_ratio: float
    def __init__(self, slot_id: _Optional[str] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., from_stage: _Optional[_Union[SeedStage, str]] = ..., to_stage: _Optional[_Union[SeedStage, str]] = ..., alpha: _Optional[float] = ..., epochs_in_stage: _Optional[int] = ..., accuracy_delta: _Optional[float] = ..., gradient_ratio: _Optional[float] = ...) -> None: ...

class SeedGateEvaluated(_message.Message):
    __slots__ = ("slot_id", "seed_id", "blueprint_id", "gate", "passed", "alpha", "checks")
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    slot_id: str
    seed_id: str
    blueprint_id: str
    gate: Gate
    passed: bool
    alpha: float
    checks: _containers.RepeatedCompositeFieldContainer[GateCheck]
    def __init__(self, slot_id: _Optional[str] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., gate: _Optional[_Union[Gate, str]] = ..., passed: bool = ..., alpha: _Optional[float] = ..., checks: _Optional[_Iterable[_Union[GateCheck, _Mapping]]] = ...) -> None: ...

class GateCheck(_message.Message):
    __slots__ = ("metric", "value", "threshold", "passed")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    metric: GateMetric
    value: float
    threshold: float
    passed: bool
    def __init__(self, metric: _Optional[_Union[GateMetric, str]] = ..., value: _Optional[float] = ..., threshold: _Optional[float] = ..., passed: bool = ...) -> None: ...

class SeedBlendProgressed(_message.Message):
    __slots__ = ("slot_id", "seed_id", "blueprint_id", "blend_id", "alpha", "epochs_done", "epochs_total")
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    BLEND_ID_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_DONE_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    slot_id: str
    seed_id: str
    blueprint_id: str
    blend_id: str
    alpha: float
    epochs_done: int
    epochs_total: int
    def __init__(self, slot_id: _Optional[str] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., blend_id: _Optional[str] = ..., alpha: _Optional[float] = ..., epochs_done: _Optional[int] = ..., epochs_total: _Optional[int] = ...) -> None: ...

class SeedFossilized(_message.Message):
    __slots__ = ("slot_id", "seed_id", "blueprint_id", "alpha", "contribution", "accuracy_delta", "params_added", "epochs_total")
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_DELTA_FIELD_NUMBER: _ClassVar[int]
    PARAMS_ADDED_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    slot_id: str
    seed_id: str
    blueprint_id: str
    alpha: float
    contribution: float
    accuracy_delta: float
    params_added: int
    epochs_total: int
    def __init__(self, slot_id: _Optional[str] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., alpha: _Optional[float] = ..., contribution: _Optional[float] = ..., accuracy_delta: _Optional[float] = ..., params_added: _Optional[int] = ..., epochs_total: _Optional[int] = ...) -> None: ...

class SeedCulled(_message.Message):
    __slots__ = ("slot_id", "seed_id", "blueprint_id", "from_stage", "alpha", "reason", "contribution", "accuracy_delta", "epochs_total")
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_STAGE_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_DELTA_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    slot_id: str
    seed_id: str
    blueprint_id: str
    from_stage: SeedStage
    alpha: float
    reason: str
    contribution: float
    accuracy_delta: float
    epochs_total: int
    def __init__(self, slot_id: _Optional[str] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., from_stage: _Optional[_Union[SeedStage, str]] = ..., alpha: _Optional[float] = ..., reason: _Optional[str] = ..., contribution: _Optional[float] = ..., accuracy_delta: _Optional[float] = ..., epochs_total: _Optional[int] = ...) -> None: ...

class SeedEnded(_message.Message):
    __slots__ = ("slot_id", "seed_id", "blueprint_id", "stage", "alpha", "contribution", "accuracy_delta", "epochs_total")
    SLOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_ID_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_DELTA_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    slot_id: str
    seed_id: str
    blueprint_id: str
    stage: SeedStage
    alpha: float
    contribution: float
    accuracy_delta: float
    epochs_total: int
    def __init__(self, slot_id: _Optional[str] = ..., seed_id: _Optional[str] = ..., blueprint_id: _Optional[str] = ..., stage: _Optional[_Union[SeedStage, str]] = ..., alpha: _Optional[float] = ..., contribution: _Optional[float] = ..., accuracy_delta: _Optional[float] = ..., epochs_total: _Optional[int] = ...) -> None: ...
