from esper_telemetry.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunProgress(_message.Message):
    __slots__ = ("done", "total", "unit")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    done: float
    total: float
    unit: str
    def __init__(self, done: _Optional[float] = ..., total: _Optional[float] = ..., unit: _Optional[str] = ...) -> None: ...

class RunHeartbeat(_message.Message):
    __slots__ = ("idle_s", "main_thread_alive", "main_thread_cpu_s", "main_thread_at")
    IDLE_S_FIELD_NUMBER: _ClassVar[int]
    MAIN_THREAD_ALIVE_FIELD_NUMBER: _ClassVar[int]
    MAIN_THREAD_CPU_S_FIELD_NUMBER: _ClassVar[int]
    MAIN_THREAD_AT_FIELD_NUMBER: _ClassVar[int]
    idle_s: float
    main_thread_alive: bool
    main_thread_cpu_s: float
    main_thread_at: str
    def __init__(self, idle_s: _Optional[float] = ..., main_thread_alive: bool = ..., main_thread_cpu_s: _Optional[float] = ..., main_thread_at: _Optional[str] = ...) -> None: ...

class PhaseTimed(_message.Message):
    __slots__ = ("phase", "duration_ms", "failed")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    phase: str
    duration_ms: float
    failed: bool
    def __init__(self, phase: _Optional[str] = ..., duration_ms: _Optional[float] = ..., failed: bool = ...) -> None: ...

class SystemSampled(_message.Message):
    __slots__ = ("rss_bytes", "cpu_percent", "threads", "open_files", "children", "children_rss_bytes", "host_memory_bytes", "host_available_bytes", "host_load_1m", "accelerators")
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_PERCENT_FIELD_NUMBER: _ClassVar[int]
    THREADS_FIELD_NUMBER: _ClassVar[int]
    OPEN_FILES_FIELD_NUMBER: _ClassVar[int]
    CHILDREN_FIELD_NUMBER: _ClassVar[int]
    CHILDREN_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    HOST_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    HOST_AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    HOST_LOAD_1M_FIELD_NUMBER: _ClassVar[int]
    ACCELERATORS_FIELD_NUMBER: _ClassVar[int]
    rss_bytes: int
    cpu_percent: float
    threads: int
    open_files: int
    children: int
    children_rss_bytes: int
    host_memory_bytes: int
    host_available_bytes: int
    host_load_1m: float
    accelerators: _containers.RepeatedCompositeFieldContainer[AcceleratorSample]
    def __init__(self, rss_bytes: _Optional[int] = ..., cpu_percent: _Optional[float] = ..., threads: _Optional[int] = ..., open_files: _Optional[int] = ..., children: _Optional[int] = ..., children_rss_bytes: _Optional[int] = ..., host_memory_bytes: _Optional[int] = ..., host_available_bytes: _Optional[int] = ..., host_load_1m: _Optional[float] = ..., accelerators: _Optional[_Iterable[_Union[AcceleratorSample, _Mapping]]] = ...) -> None: ...

class AcceleratorSample(_message.Message):
    __slots__ = ("index", "uuid", "memory_used_bytes", "memory_total_bytes", "utilization_percent", "temperature_celsius", "power_w")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    UTILIZATION_PERCENT_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_CELSIUS_FIELD_NUMBER: _ClassVar[int]
    POWER_W_FIELD_NUMBER: _ClassVar[int]
    index: int
    uuid: str
    memory_used_bytes: int
    memory_total_bytes: int
    utilization_percent: float
    temperature_celsius: float
    power_w: float
    def __init__(self, index: _Optional[int] = ..., uuid: _Optional[str] = ..., memory_used_bytes: _Optional[int] = ..., memory_total_bytes: _Optional[int] = ..., utilization_percent: _Optional[float] = ..., temperature_celsius: _Optional[float] = ..., power_w: _Optional[float] = ...) -> None: ...
