from esper_telemetry.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StepBlock(_message.Message):
    __slots__ = ("row_type", "steps", "envs", "env_ids", "context", "columns", "first_time_unix_nano", "time_offsets_us", "rows_shed", "device", "env_context", "valid")
    ROW_TYPE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    ENVS_FIELD_NUMBER: _ClassVar[int]
    ENV_IDS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    TIME_OFFSETS_US_FIELD_NUMBER: _ClassVar[int]
    ROWS_SHED_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    ENV_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    VALID_FIELD_NUMBER: _ClassVar[int]
    row_type: str
    steps: int
    envs: int
    env_ids: _containers.RepeatedScalarFieldContainer[int]
    context: _containers.RepeatedCompositeFieldContainer[StepContext]
    columns: _containers.RepeatedCompositeFieldContainer[StepColumn]
    first_time_unix_nano: int
    time_offsets_us: _containers.RepeatedScalarFieldContainer[int]
    rows_shed: int
    device: str
    env_context: _containers.RepeatedCompositeFieldContainer[StepContext]
    valid: bytes
    def __init__(self, row_type: _Optional[str] = ..., steps: _Optional[int] = ..., envs: _Optional[int] = ..., env_ids: _Optional[_Iterable[int]] = ..., context: _Optional[_Iterable[_Union[StepContext, _Mapping]]] = ..., columns: _Optional[_Iterable[_Union[StepColumn, _Mapping]]] = ..., first_time_unix_nano: _Optional[int] = ..., time_offsets_us: _Optional[_Iterable[int]] = ..., rows_shed: _Optional[int] = ..., device: _Optional[str] = ..., env_context: _Optional[_Iterable[_Union[StepContext, _Mapping]]] = ..., valid: _Optional[bytes] = ...) -> None: ...

class StepContext(_message.Message):
    __slots__ = ("field", "values")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    field: str
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, field: _Optional[str] = ..., values: _Optional[_Iterable[int]] = ...) -> None: ...

class StepColumn(_message.Message):
    __slots__ = ("field", "flags", "indices", "labels", "numbers", "floats", "doubles")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    FLOATS_FIELD_NUMBER: _ClassVar[int]
    DOUBLES_FIELD_NUMBER: _ClassVar[int]
    field: str
    flags: bytes
    indices: bytes
    labels: _containers.RepeatedScalarFieldContainer[str]
    numbers: _containers.RepeatedScalarFieldContainer[int]
    floats: bytes
    doubles: bytes
    def __init__(self, field: _Optional[str] = ..., flags: _Optional[bytes] = ..., indices: _Optional[bytes] = ..., labels: _Optional[_Iterable[str]] = ..., numbers: _Optional[_Iterable[int]] = ..., floats: _Optional[bytes] = ..., doubles: _Optional[bytes] = ...) -> None: ...
