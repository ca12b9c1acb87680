from esper_telemetry.v1 import context_pb2 as _context_pb2
from esper_telemetry.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RecordFile(_message.Message):
    __slots__ = ("header", "event", "block")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    header: _containers.RepeatedCompositeFieldContainer[Header]
    event: _containers.RepeatedCompositeFieldContainer[Event]
    block: _containers.RepeatedCompositeFieldContainer[EventBlock]
    def __init__(self, header: _Optional[_Iterable[_Union[Header, _Mapping]]] = ..., event: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., block: _Optional[_Iterable[_Union[EventBlock, _Mapping]]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("type_id", "time_unix_nano", "seq", "context", "payload")
    TYPE_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    type_id: int
    time_unix_nano: int
    seq: int
    context: _context_pb2.Context
    payload: bytes
    def __init__(self, type_id: _Optional[int] = ..., time_unix_nano: _Optional[int] = ..., seq: _Optional[int] = ..., context: _Optional[_Union[_context_pb2.Context, _Mapping]] = ..., payload: _Optional[bytes] = ...) -> None: ...

class EventBlock(_message.Message):
    __slots__ = ("type_id", "events", "first_seq", "seq_steps", "first_time_unix_nano", "time_steps", "context", "columns", "payloads")
    TYPE_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    SEQ_STEPS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    TIME_STEPS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    type_id: int
    events: int
    first_seq: int
    seq_steps: bytes
    first_time_unix_nano: int
    time_steps: bytes
    context: _containers.RepeatedCompositeFieldContainer[Column]
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    payloads: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, type_id: _Optional[int] = ..., events: _Optional[int] = ..., first_seq: _Optional[int] = ..., seq_steps: _Optional[bytes] = ..., first_time_unix_nano: _Optional[int] = ..., time_steps: _Optional[bytes] = ..., context: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., payloads: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("field", "type", "doubles", "floats", "first", "ints", "int_steps", "texts", "indices", "flags")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DOUBLES_FIELD_NUMBER: _ClassVar[int]
    FLOATS_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    INTS_FIELD_NUMBER: _ClassVar[int]
    INT_STEPS_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    INDICES_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    field: int
    type: int
    doubles: bytes
    floats: bytes
    first: int
    ints: bytes
    int_steps: bytes
    texts: _containers.RepeatedScalarFieldContainer[str]
    indices: bytes
    flags: bytes
    def __init__(self, field: _Optional[int] = ..., type: _Optional[int] = ..., doubles: _Optional[bytes] = ..., floats: _Optional[bytes] = ..., first: _Optional[int] = ..., ints: _Optional[bytes] = ..., int_steps: _Optional[bytes] = ..., texts: _Optional[_Iterable[str]] = ..., indices: _Optional[bytes] = ..., flags: _Optional[bytes] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("format_major", "format_minor", "file_id", "run_id", "producer_id", "stream", "segment", "previous_file_id", "previous_last_seq", "anchor_unix_nano", "anchor_monotonic_nano", "host", "pid", "rank", "writer", "run_name", "types", "file_descriptor_set", "flush_policy", "attributes", "parent_producer_id", "attempt", "launch", "definitions")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    FORMAT_MAJOR_FIELD_NUMBER: _ClassVar[int]
    FORMAT_MINOR_FIELD_NUMBER: _ClassVar[int]
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FILE_ID_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    ANCHOR_MONOTONIC_NANO_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    FILE_DESCRIPTOR_SET_FIELD_NUMBER: _ClassVar[int]
    FLUSH_POLICY_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    PARENT_PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_FIELD_NUMBER: _ClassVar[int]
    DEFINITIONS_FIELD_NUMBER: _ClassVar[int]
    format_major: int
    format_minor: int
    file_id: bytes
    run_id: str
    producer_id: bytes
    stream: str
    segment: int
    previous_file_id: bytes
    previous_last_seq: int
    anchor_unix_nano: int
    anchor_monotonic_nano: int
    host: str
    pid: int
    rank: int
    writer: str
    run_name: str
    types: _containers.RepeatedCompositeFieldContainer[TypeEntry]
    file_descriptor_set: bytes
    flush_policy: FlushPolicy
    attributes: _containers.ScalarMap[str, str]
    parent_producer_id: bytes
    attempt: int
    launch: str
    definitions: str
    def __init__(self, format_major: _Optional[int] = ..., format_minor: _Optional[int] = ..., file_id: _Optional[bytes] = ..., run_id: _Optional[str] = ..., producer_id: _Optional[bytes] = ..., stream: _Optional[str] = ..., segment: _Optional[int] = ..., previous_file_id: _Optional[bytes] = ..., previous_last_seq: _Optional[int] = ..., anchor_unix_nano: _Optional[int] = ..., anchor_monotonic_nano: _Optional[int] = ..., host: _Optional[str] = ..., pid: _Optional[int] = ..., rank: _Optional[int] = ..., writer: _Optional[str] = ..., run_name: _Optional[str] = ..., types: _Optional[_Iterable[_Union[TypeEntry, _Mapping]]] = ..., file_descriptor_set: _Optional[bytes] = ..., flush_policy: _Optional[_Union[FlushPolicy, _Mapping]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., parent_producer_id: _Optional[bytes] = ..., attempt: _Optional[int] = ..., launch: _Optional[str] = ..., definitions: _Optional[str] = ...) -> None: ...

class TypeEntry(_message.Message):
    __slots__ = ("type_id", "full_name")
    TYPE_ID_FIELD_NUMBER: _ClassVar[int]
    FULL_NAME_FIELD_NUMBER: _ClassVar[int]
    type_id: int
    full_name: str
    def __init__(self, type_id: _Optional[int] = ..., full_name: _Optional[str] = ...) -> None: ...

class FlushPolicy(_message.Message):
    __slots__ = ("frame_bytes", "flush_interval_s", "sync")
    FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    FLUSH_INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    frame_bytes: int
    flush_interval_s: float
    sync: str
    def __init__(self, frame_bytes: _Optional[int] = ..., flush_interval_s: _Optional[float] = ..., sync: _Optional[str] = ...) -> None: ...

class Index(_message.Message):
    __slots__ = ("frames", "records", "type_counts", "header_offsets")
    class TypeCountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    TYPE_COUNTS_FIELD_NUMBER: _ClassVar[int]
    HEADER_OFFSETS_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[FrameInfo]
    records: int
    type_counts: _containers.ScalarMap[int, int]
    header_offsets: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, frames: _Optional[_Iterable[_Union[FrameInfo, _Mapping]]] = ..., records: _Optional[int] = ..., type_counts: _Optional[_Mapping[int, int]] = ..., header_offsets: _Optional[_Iterable[int]] = ...) -> None: ...

class FrameInfo(_message.Message):
    __slots__ = ("offset", "compressed_size", "raw_size", "records", "first_seq", "last_seq", "min_time_unix_nano", "max_time_unix_nano", "type_counts", "min_batch_idx", "max_batch_idx", "min_step", "max_step")
    class TypeCountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    COMPRESSED_SIZE_FIELD_NUMBER: _ClassVar[int]
    RAW_SIZE_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    MIN_TIME_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    MAX_TIME_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    TYPE_COUNTS_FIELD_NUMBER: _ClassVar[int]
    MIN_BATCH_IDX_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_IDX_FIELD_NUMBER: _ClassVar[int]
    MIN_STEP_FIELD_NUMBER: _ClassVar[int]
    MAX_STEP_FIELD_NUMBER: _ClassVar[int]
    offset: int
    compressed_size: int
    raw_size: int
    records: int
    first_seq: int
    last_seq: int
    min_time_unix_nano: int
    max_time_unix_nano: int
    type_counts: _containers.ScalarMap[int, int]
    min_batch_idx: int
    max_batch_idx: int
    min_step: int
    max_step: int
    def __init__(self, offset: _Optional[int] = ..., compressed_size: _Optional[int] = ..., raw_size: _Optional[int] = ..., records: _Optional[int] = ..., first_seq: _Optional[int] = ..., last_seq: _Optional[int] = ..., min_time_unix_nano: _Optional[int] = ..., max_time_unix_nano: _Optional[int] = ..., type_counts: _Optional[_Mapping[int, int]] = ..., min_batch_idx: _Optional[int] = ..., max_batch_idx: _Optional[int] = ..., min_step: _Optional[int] = ..., max_step: _Optional[int] = ...) -> None: ...
