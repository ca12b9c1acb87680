from esper_telemetry.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUN_OUTCOME_UNSPECIFIED: _ClassVar[RunOutcome]
    RUN_OUTCOME_COMPLETED: _ClassVar[RunOutcome]
    RUN_OUTCOME_FAILED: _ClassVar[RunOutcome]
    RUN_OUTCOME_INTERRUPTED: _ClassVar[RunOutcome]
    RUN_OUTCOME_ABANDONED: _ClassVar[RunOutcome]

class DropCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DROP_CAUSE_UNSPECIFIED: _ClassVar[DropCause]
    DROP_CAUSE_BUFFER_FULL: _ClassVar[DropCause]
    DROP_CAUSE_TOO_LARGE: _ClassVar[DropCause]
    DROP_CAUSE_INVALID: _ClassVar[DropCause]
    DROP_CAUSE_SINK_FAILED: _ClassVar[DropCause]
    DROP_CAUSE_SHUTDOWN: _ClassVar[DropCause]
    DROP_CAUSE_IN_CHILD: _ClassVar[DropCause]
    DROP_CAUSE_RECORD_REMOVED: _ClassVar[DropCause]
    DROP_CAUSE_AFTER_CLOSE: _ClassVar[DropCause]
    DROP_CAUSE_WRITER_FAILED: _ClassVar[DropCause]
RUN_OUTCOME_UNSPECIFIED: RunOutcome
RUN_OUTCOME_COMPLETED: RunOutcome
RUN_OUTCOME_FAILED: RunOutcome
RUN_OUTCOME_INTERRUPTED: RunOutcome
RUN_OUTCOME_ABANDONED: RunOutcome
DROP_CAUSE_UNSPECIFIED: DropCause
DROP_CAUSE_BUFFER_FULL: DropCause
DROP_CAUSE_TOO_LARGE: DropCause
DROP_CAUSE_INVALID: DropCause
DROP_CAUSE_SINK_FAILED: DropCause
DROP_CAUSE_SHUTDOWN: DropCause
DROP_CAUSE_IN_CHILD: DropCause
DROP_CAUSE_RECORD_REMOVED: DropCause
DROP_CAUSE_AFTER_CLOSE: DropCause
DROP_CAUSE_WRITER_FAILED: DropCause

class RunStarted(_message.Message):
    __slots__ = ("name", "run_id", "tags", "config_json", "config_sha256", "argv", "versions", "host", "git", "telemetry", "redacted", "config_bytes", "attempt", "control_of")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    CONFIG_SHA256_FIELD_NUMBER: _ClassVar[int]
    ARGV_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    GIT_FIELD_NUMBER: _ClassVar[int]
    TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    REDACTED_FIELD_NUMBER: _ClassVar[int]
    CONFIG_BYTES_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CONTROL_OF_FIELD_NUMBER: _ClassVar[int]
    name: str
    run_id: str
    tags: _containers.ScalarMap[str, str]
    config_json: str
    config_sha256: str
    argv: _containers.RepeatedScalarFieldContainer[str]
    versions: _containers.RepeatedCompositeFieldContainer[PackageVersion]
    host: Host
    git: GitInfo
    telemetry: TelemetrySettings
    redacted: _containers.RepeatedScalarFieldContainer[str]
    config_bytes: int
    attempt: int
    control_of: str
    def __init__(self, name: _Optional[str] = ..., run_id: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., config_json: _Optional[str] = ..., config_sha256: _Optional[str] = ..., argv: _Optional[_Iterable[str]] = ..., versions: _Optional[_Iterable[_Union[PackageVersion, _Mapping]]] = ..., host: _Optional[_Union[Host, _Mapping]] = ..., git: _Optional[_Union[GitInfo, _Mapping]] = ..., telemetry: _Optional[_Union[TelemetrySettings, _Mapping]] = ..., redacted: _Optional[_Iterable[str]] = ..., config_bytes: _Optional[int] = ..., attempt: _Optional[int] = ..., control_of: _Optional[str] = ...) -> None: ...

class RunConfigured(_message.Message):
    __slots__ = ("config_json", "config_sha256", "redacted", "config_bytes")
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    CONFIG_SHA256_FIELD_NUMBER: _ClassVar[int]
    REDACTED_FIELD_NUMBER: _ClassVar[int]
    CONFIG_BYTES_FIELD_NUMBER: _ClassVar[int]
    config_json: str
    config_sha256: str
    redacted: _containers.RepeatedScalarFieldContainer[str]
    config_bytes: int
    def __init__(self, config_json: _Optional[str] = ..., config_sha256: _Optional[str] = ..., redacted: _Optional[_Iterable[str]] = ..., config_bytes: _Optional[int] = ...) -> None: ...

class PackageVersion(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Host(_message.Message):
    __slots__ = ("hostname", "os", "cpu_count")
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    OS_FIELD_NUMBER: _ClassVar[int]
    CPU_COUNT_FIELD_NUMBER: _ClassVar[int]
    hostname: str
    os: str
    cpu_count: int
    def __init__(self, hostname: _Optional[str] = ..., os: _Optional[str] = ..., cpu_count: _Optional[int] = ...) -> None: ...

class GitInfo(_message.Message):
    __slots__ = ("commit", "branch", "dirty")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    DIRTY_FIELD_NUMBER: _ClassVar[int]
    commit: str
    branch: str
    dirty: bool
    def __init__(self, commit: _Optional[str] = ..., branch: _Optional[str] = ..., dirty: bool = ...) -> None: ...

class TelemetrySettings(_message.Message):
    __slots__ = ("level", "lifecycle_only", "buffer_bytes", "flush_interval_s", "sync", "children")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    LIFECYCLE_ONLY_FIELD_NUMBER: _ClassVar[int]
    BUFFER_BYTES_FIELD_NUMBER: _ClassVar[int]
    FLUSH_INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    CHILDREN_FIELD_NUMBER: _ClassVar[int]
    level: _options_pb2.Level
    lifecycle_only: bool
    buffer_bytes: int
    flush_interval_s: float
    sync: str
    children: str
    def __init__(self, level: _Optional[_Union[_options_pb2.Level, str]] = ..., lifecycle_only: bool = ..., buffer_bytes: _Optional[int] = ..., flush_interval_s: _Optional[float] = ..., sync: _Optional[str] = ..., children: _Optional[str] = ...) -> None: ...

class RunResumed(_message.Message):
    __slots__ = ("attempt", "source", "from_step", "from_batch_idx", "from_global_epoch", "from_episode")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FROM_STEP_FIELD_NUMBER: _ClassVar[int]
    FROM_BATCH_IDX_FIELD_NUMBER: _ClassVar[int]
    FROM_GLOBAL_EPOCH_FIELD_NUMBER: _ClassVar[int]
    FROM_EPISODE_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    source: str
    from_step: int
    from_batch_idx: int
    from_global_epoch: int
    from_episode: int
    def __init__(self, attempt: _Optional[int] = ..., source: _Optional[str] = ..., from_step: _Optional[int] = ..., from_batch_idx: _Optional[int] = ..., from_global_epoch: _Optional[int] = ..., from_episode: _Optional[int] = ...) -> None: ...

class RunFinished(_message.Message):
    __slots__ = ("outcome", "duration_s", "error_type", "error_message", "results", "offered", "dropped", "drops", "reason", "results_left_out")
    class ResultsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    OFFERED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    DROPS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RESULTS_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    outcome: RunOutcome
    duration_s: float
    error_type: str
    error_message: str
    results: _containers.ScalarMap[str, float]
    offered: int
    dropped: int
    drops: _containers.RepeatedCompositeFieldContainer[DropCount]
    reason: str
    results_left_out: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, outcome: _Optional[_Union[RunOutcome, str]] = ..., duration_s: _Optional[float] = ..., error_type: _Optional[str] = ..., error_message: _Optional[str] = ..., results: _Optional[_Mapping[str, float]] = ..., offered: _Optional[int] = ..., dropped: _Optional[int] = ..., drops: _Optional[_Iterable[_Union[DropCount, _Mapping]]] = ..., reason: _Optional[str] = ..., results_left_out: _Optional[_Iterable[str]] = ...) -> None: ...

class StreamFinished(_message.Message):
    __slots__ = ("reason", "error_type", "duration_s", "offered", "dropped", "drops")
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    OFFERED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    DROPS_FIELD_NUMBER: _ClassVar[int]
    reason: str
    error_type: str
    duration_s: float
    offered: int
    dropped: int
    drops: _containers.RepeatedCompositeFieldContainer[DropCount]
    def __init__(self, reason: _Optional[str] = ..., error_type: _Optional[str] = ..., duration_s: _Optional[float] = ..., offered: _Optional[int] = ..., dropped: _Optional[int] = ..., drops: _Optional[_Iterable[_Union[DropCount, _Mapping]]] = ...) -> None: ...

class TelemetryDisabled(_message.Message):
    __slots__ = ("level", "lifecycle_only", "reason", "message")
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    LIFECYCLE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    level: _options_pb2.Level
    lifecycle_only: bool
    reason: str
    message: str
    def __init__(self, level: _Optional[_Union[_options_pb2.Level, str]] = ..., lifecycle_only: bool = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class LevelChanged(_message.Message):
    __slots__ = ("from_level", "to_level", "reason")
    FROM_LEVEL_FIELD_NUMBER: _ClassVar[int]
    TO_LEVEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    from_level: _options_pb2.Level
    to_level: _options_pb2.Level
    reason: str
    def __init__(self, from_level: _Optional[_Union[_options_pb2.Level, str]] = ..., to_level: _Optional[_Union[_options_pb2.Level, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class ClockReanchored(_message.Message):
    __slots__ = ("difference_s", "expected_unix_nano", "actual_unix_nano", "catch_up_s")
    DIFFERENCE_S_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    CATCH_UP_S_FIELD_NUMBER: _ClassVar[int]
    difference_s: float
    expected_unix_nano: int
    actual_unix_nano: int
    catch_up_s: float
    def __init__(self, difference_s: _Optional[float] = ..., expected_unix_nano: _Optional[int] = ..., actual_unix_nano: _Optional[int] = ..., catch_up_s: _Optional[float] = ...) -> None: ...

class DropReport(_message.Message):
    __slots__ = ("drops", "total_dropped", "total_offered")
    DROPS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_DROPPED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_OFFERED_FIELD_NUMBER: _ClassVar[int]
    drops: _containers.RepeatedCompositeFieldContainer[DropCount]
    total_dropped: int
    total_offered: int
    def __init__(self, drops: _Optional[_Iterable[_Union[DropCount, _Mapping]]] = ..., total_dropped: _Optional[int] = ..., total_offered: _Optional[int] = ...) -> None: ...

class DropCount(_message.Message):
    __slots__ = ("full_name", "cause", "count")
    FULL_NAME_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    full_name: str
    cause: DropCause
    count: int
    def __init__(self, full_name: _Optional[str] = ..., cause: _Optional[_Union[DropCause, str]] = ..., count: _Optional[int] = ...) -> None: ...
