from esper_telemetry.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ScalarsLogged(_message.Message):
    __slots__ = ("scalars", "step")
    class ScalarsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SCALARS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    scalars: _containers.ScalarMap[str, float]
    step: int
    def __init__(self, scalars: _Optional[_Mapping[str, float]] = ..., step: _Optional[int] = ...) -> None: ...

class TextLogged(_message.Message):
    __slots__ = ("name", "text", "mime", "omitted_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MIME_FIELD_NUMBER: _ClassVar[int]
    OMITTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    text: str
    mime: str
    omitted_bytes: int
    def __init__(self, name: _Optional[str] = ..., text: _Optional[str] = ..., mime: _Optional[str] = ..., omitted_bytes: _Optional[int] = ...) -> None: ...

class ArtifactLogged(_message.Message):
    __slots__ = ("name", "path", "copied", "mime", "size_bytes", "sha256", "error")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    COPIED_FIELD_NUMBER: _ClassVar[int]
    MIME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    copied: bool
    mime: str
    size_bytes: int
    sha256: str
    error: str
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., copied: bool = ..., mime: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class CheckpointSaved(_message.Message):
    __slots__ = ("path", "size_bytes", "sha256", "save_time_ms", "metric", "metric_value", "is_best")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SAVE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    METRIC_VALUE_FIELD_NUMBER: _ClassVar[int]
    IS_BEST_FIELD_NUMBER: _ClassVar[int]
    path: str
    size_bytes: int
    sha256: str
    save_time_ms: float
    metric: str
    metric_value: float
    is_best: bool
    def __init__(self, path: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., save_time_ms: _Optional[float] = ..., metric: _Optional[str] = ..., metric_value: _Optional[float] = ..., is_best: bool = ...) -> None: ...

class CheckpointLoaded(_message.Message):
    __slots__ = ("path", "size_bytes", "sha256", "load_time_ms")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    LOAD_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    path: str
    size_bytes: int
    sha256: str
    load_time_ms: float
    def __init__(self, path: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., load_time_ms: _Optional[float] = ...) -> None: ...
