from esper_telemetry.v1 import record_pb2 as _record_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Codec(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CODEC_UNSPECIFIED: _ClassVar[Codec]
    CODEC_ZSTD: _ClassVar[Codec]

class SkipReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SKIP_REASON_UNSPECIFIED: _ClassVar[SkipReason]
    SKIP_REASON_SPOOL_LOST: _ClassVar[SkipReason]
    SKIP_REASON_CORRUPT: _ClassVar[SkipReason]
    SKIP_REASON_TOO_BIG: _ClassVar[SkipReason]

class CloseOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLOSE_OUTCOME_UNSPECIFIED: _ClassVar[CloseOutcome]
    CLOSE_OUTCOME_FINISHED: _ClassVar[CloseOutcome]
    CLOSE_OUTCOME_WRITER_LOST: _ClassVar[CloseOutcome]
    CLOSE_OUTCOME_INCOMPLETE: _ClassVar[CloseOutcome]

class DrainReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DRAIN_REASON_UNSPECIFIED: _ClassVar[DrainReason]
    DRAIN_REASON_SHUTDOWN: _ClassVar[DrainReason]
    DRAIN_REASON_STORAGE: _ClassVar[DrainReason]

class Durability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DURABILITY_UNSPECIFIED: _ClassVar[Durability]
    DURABILITY_FILE: _ClassVar[Durability]
    DURABILITY_CONSUMER: _ClassVar[Durability]
    DURABILITY_NONE: _ClassVar[Durability]

class RefusalReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSAL_REASON_UNSPECIFIED: _ClassVar[RefusalReason]
    REFUSAL_REASON_FENCED: _ClassVar[RefusalReason]
    REFUSAL_REASON_PROTOCOL: _ClassVar[RefusalReason]
    REFUSAL_REASON_SCHEMA_UNKNOWN: _ClassVar[RefusalReason]
    REFUSAL_REASON_SCHEMA_INVALID: _ClassVar[RefusalReason]
    REFUSAL_REASON_MESSAGE_ORDER: _ClassVar[RefusalReason]
    REFUSAL_REASON_HELLO_TIMEOUT: _ClassVar[RefusalReason]
    REFUSAL_REASON_IDENTITY: _ClassVar[RefusalReason]
    REFUSAL_REASON_NUMBERS: _ClassVar[RefusalReason]
    REFUSAL_REASON_GAP: _ClassVar[RefusalReason]
    REFUSAL_REASON_CHECKSUM: _ClassVar[RefusalReason]
    REFUSAL_REASON_FRAME_INVALID: _ClassVar[RefusalReason]
    REFUSAL_REASON_TOO_BIG: _ClassVar[RefusalReason]
    REFUSAL_REASON_QUOTA: _ClassVar[RefusalReason]
    REFUSAL_REASON_TOKEN: _ClassVar[RefusalReason]
    REFUSAL_REASON_FORBIDDEN: _ClassVar[RefusalReason]
    REFUSAL_REASON_STORAGE: _ClassVar[RefusalReason]
    REFUSAL_REASON_DRAINING: _ClassVar[RefusalReason]
    REFUSAL_REASON_IDLE: _ClassVar[RefusalReason]
    REFUSAL_REASON_PRODUCER_TAKEN: _ClassVar[RefusalReason]
    REFUSAL_REASON_NO_RUN: _ClassVar[RefusalReason]
    REFUSAL_REASON_STREAMS: _ClassVar[RefusalReason]
    REFUSAL_REASON_MALFORMED: _ClassVar[RefusalReason]
    REFUSAL_REASON_ELSEWHERE: _ClassVar[RefusalReason]
    REFUSAL_REASON_BUSY: _ClassVar[RefusalReason]
CODEC_UNSPECIFIED: Codec
CODEC_ZSTD: Codec
SKIP_REASON_UNSPECIFIED: SkipReason
SKIP_REASON_SPOOL_LOST: SkipReason
SKIP_REASON_CORRUPT: SkipReason
SKIP_REASON_TOO_BIG: SkipReason
CLOSE_OUTCOME_UNSPECIFIED: CloseOutcome
CLOSE_OUTCOME_FINISHED: CloseOutcome
CLOSE_OUTCOME_WRITER_LOST: CloseOutcome
CLOSE_OUTCOME_INCOMPLETE: CloseOutcome
DRAIN_REASON_UNSPECIFIED: DrainReason
DRAIN_REASON_SHUTDOWN: DrainReason
DRAIN_REASON_STORAGE: DrainReason
DURABILITY_UNSPECIFIED: Durability
DURABILITY_FILE: Durability
DURABILITY_CONSUMER: Durability
DURABILITY_NONE: Durability
REFUSAL_REASON_UNSPECIFIED: RefusalReason
REFUSAL_REASON_FENCED: RefusalReason
REFUSAL_REASON_PROTOCOL: RefusalReason
REFUSAL_REASON_SCHEMA_UNKNOWN: RefusalReason
REFUSAL_REASON_SCHEMA_INVALID: RefusalReason
REFUSAL_REASON_MESSAGE_ORDER: RefusalReason
REFUSAL_REASON_HELLO_TIMEOUT: RefusalReason
REFUSAL_REASON_IDENTITY: RefusalReason
REFUSAL_REASON_NUMBERS: RefusalReason
REFUSAL_REASON_GAP: RefusalReason
REFUSAL_REASON_CHECKSUM: RefusalReason
REFUSAL_REASON_FRAME_INVALID: RefusalReason
REFUSAL_REASON_TOO_BIG: RefusalReason
REFUSAL_REASON_QUOTA: RefusalReason
REFUSAL_REASON_TOKEN: RefusalReason
REFUSAL_REASON_FORBIDDEN: RefusalReason
REFUSAL_REASON_STORAGE: RefusalReason
REFUSAL_REASON_DRAINING: RefusalReason
REFUSAL_REASON_IDLE: RefusalReason
REFUSAL_REASON_PRODUCER_TAKEN: RefusalReason
REFUSAL_REASON_NO_RUN: RefusalReason
REFUSAL_REASON_STREAMS: RefusalReason
REFUSAL_REASON_MALFORMED: RefusalReason
REFUSAL_REASON_ELSEWHERE: RefusalReason
REFUSAL_REASON_BUSY: RefusalReason

class ClientMessage(_message.Message):
    __slots__ = ("hello", "batch", "schema", "skip", "heartbeat", "close", "batches")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    SKIP_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    batch: Batch
    schema: Schema
    skip: Skip
    heartbeat: Heartbeat
    close: Close
    batches: Batches
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., batch: _Optional[_Union[Batch, _Mapping]] = ..., schema: _Optional[_Union[Schema, _Mapping]] = ..., skip: _Optional[_Union[Skip, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., close: _Optional[_Union[Close, _Mapping]] = ..., batches: _Optional[_Union[Batches, _Mapping]] = ...) -> None: ...

class ServerMessage(_message.Message):
    __slots__ = ("welcome", "ack", "drain", "heartbeat")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    ack: Ack
    drain: Drain
    heartbeat: Heartbeat
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("min_protocol", "max_protocol", "run_id", "producer_id", "session_epoch", "schema_fingerprint", "first_available_seq", "codecs", "client", "writer", "rank", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MIN_PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    MAX_PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    FIRST_AVAILABLE_SEQ_FIELD_NUMBER: _ClassVar[int]
    CODECS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    min_protocol: int
    max_protocol: int
    run_id: str
    producer_id: bytes
    session_epoch: int
    schema_fingerprint: bytes
    first_available_seq: int
    codecs: _containers.RepeatedScalarFieldContainer[Codec]
    client: str
    writer: str
    rank: int
    labels: _containers.ScalarMap[str, str]
    def __init__(self, min_protocol: _Optional[int] = ..., max_protocol: _Optional[int] = ..., run_id: _Optional[str] = ..., producer_id: _Optional[bytes] = ..., session_epoch: _Optional[int] = ..., schema_fingerprint: _Optional[bytes] = ..., first_available_seq: _Optional[int] = ..., codecs: _Optional[_Iterable[_Union[Codec, str]]] = ..., client: _Optional[str] = ..., writer: _Optional[str] = ..., rank: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol", "durable_seq", "limits", "heartbeat_ms", "need_schema", "durability", "session_epoch", "server")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    DURABLE_SEQ_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    NEED_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    SESSION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    durable_seq: int
    limits: StreamLimits
    heartbeat_ms: int
    need_schema: bool
    durability: Durability
    session_epoch: int
    server: str
    def __init__(self, protocol: _Optional[int] = ..., durable_seq: _Optional[int] = ..., limits: _Optional[_Union[StreamLimits, _Mapping]] = ..., heartbeat_ms: _Optional[int] = ..., need_schema: bool = ..., durability: _Optional[_Union[Durability, str]] = ..., session_epoch: _Optional[int] = ..., server: _Optional[str] = ...) -> None: ...

class StreamLimits(_message.Message):
    __slots__ = ("frame_bytes", "raw_bytes", "window_bytes", "window_frames", "schema_bytes", "batches_bytes")
    FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    RAW_BYTES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FRAMES_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_BYTES_FIELD_NUMBER: _ClassVar[int]
    BATCHES_BYTES_FIELD_NUMBER: _ClassVar[int]
    frame_bytes: int
    raw_bytes: int
    window_bytes: int
    window_frames: int
    schema_bytes: int
    batches_bytes: int
    def __init__(self, frame_bytes: _Optional[int] = ..., raw_bytes: _Optional[int] = ..., window_bytes: _Optional[int] = ..., window_frames: _Optional[int] = ..., schema_bytes: _Optional[int] = ..., batches_bytes: _Optional[int] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("first_seq", "last_seq", "count", "raw_len", "crc32", "codec", "schema_fingerprint", "payload")
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    RAW_LEN_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    first_seq: int
    last_seq: int
    count: int
    raw_len: int
    crc32: int
    codec: Codec
    schema_fingerprint: bytes
    payload: bytes
    def __init__(self, first_seq: _Optional[int] = ..., last_seq: _Optional[int] = ..., count: _Optional[int] = ..., raw_len: _Optional[int] = ..., crc32: _Optional[int] = ..., codec: _Optional[_Union[Codec, str]] = ..., schema_fingerprint: _Optional[bytes] = ..., payload: _Optional[bytes] = ...) -> None: ...

class Batches(_message.Message):
    __slots__ = ("batches",)
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    batches: _containers.RepeatedCompositeFieldContainer[Batch]
    def __init__(self, batches: _Optional[_Iterable[_Union[Batch, _Mapping]]] = ...) -> None: ...

class Schema(_message.Message):
    __slots__ = ("fingerprint", "header")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    fingerprint: bytes
    header: _record_pb2.Header
    def __init__(self, fingerprint: _Optional[bytes] = ..., header: _Optional[_Union[_record_pb2.Header, _Mapping]] = ...) -> None: ...

class Skip(_message.Message):
    __slots__ = ("first_seq", "last_seq", "reason")
    FIRST_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQ_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    first_seq: int
    last_seq: int
    reason: SkipReason
    def __init__(self, first_seq: _Optional[int] = ..., last_seq: _Optional[int] = ..., reason: _Optional[_Union[SkipReason, str]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("sent_unix_nano",)
    SENT_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    sent_unix_nano: int
    def __init__(self, sent_unix_nano: _Optional[int] = ...) -> None: ...

class Close(_message.Message):
    __slots__ = ("final_seq", "outcome")
    FINAL_SEQ_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    final_seq: int
    outcome: CloseOutcome
    def __init__(self, final_seq: _Optional[int] = ..., outcome: _Optional[_Union[CloseOutcome, str]] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("durable_seq", "accepted_seq", "duplicates", "window_bytes", "resend_from", "throttle_ms")
    DURABLE_SEQ_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_SEQ_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESEND_FROM_FIELD_NUMBER: _ClassVar[int]
    THROTTLE_MS_FIELD_NUMBER: _ClassVar[int]
    durable_seq: int
    accepted_seq: int
    duplicates: int
    window_bytes: int
    resend_from: int
    throttle_ms: int
    def __init__(self, durable_seq: _Optional[int] = ..., accepted_seq: _Optional[int] = ..., duplicates: _Optional[int] = ..., window_bytes: _Optional[int] = ..., resend_from: _Optional[int] = ..., throttle_ms: _Optional[int] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("reason", "reconnect_after_ms", "jitter_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    JITTER_MS_FIELD_NUMBER: _ClassVar[int]
    reason: DrainReason
    reconnect_after_ms: int
    jitter_ms: int
    def __init__(self, reason: _Optional[_Union[DrainReason, str]] = ..., reconnect_after_ms: _Optional[int] = ..., jitter_ms: _Optional[int] = ...) -> None: ...

class PushBatchRequest(_message.Message):
    __slots__ = ("hello", "messages")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    messages: _containers.RepeatedCompositeFieldContainer[ClientMessage]
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., messages: _Optional[_Iterable[_Union[ClientMessage, _Mapping]]] = ...) -> None: ...

class GetWatermarkRequest(_message.Message):
    __slots__ = ("run_id", "producer_id", "schema_fingerprint")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    producer_id: bytes
    schema_fingerprint: bytes
    def __init__(self, run_id: _Optional[str] = ..., producer_id: _Optional[bytes] = ..., schema_fingerprint: _Optional[bytes] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("run_id", "types", "positions", "from_seq", "stored_only", "only_new")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQ_FIELD_NUMBER: _ClassVar[int]
    STORED_ONLY_FIELD_NUMBER: _ClassVar[int]
    ONLY_NEW_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    types: _containers.RepeatedScalarFieldContainer[str]
    positions: _containers.RepeatedCompositeFieldContainer[Position]
    from_seq: int
    stored_only: bool
    only_new: bool
    def __init__(self, run_id: _Optional[str] = ..., types: _Optional[_Iterable[str]] = ..., positions: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., from_seq: _Optional[int] = ..., stored_only: bool = ..., only_new: bool = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("producer_id", "from_seq")
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_SEQ_FIELD_NUMBER: _ClassVar[int]
    producer_id: bytes
    from_seq: int
    def __init__(self, producer_id: _Optional[bytes] = ..., from_seq: _Optional[int] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("producer_id", "schema", "batch", "skip", "close", "heartbeat")
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    SKIP_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    producer_id: bytes
    schema: Schema
    batch: Batch
    skip: Skip
    close: Close
    heartbeat: Heartbeat
    def __init__(self, producer_id: _Optional[bytes] = ..., schema: _Optional[_Union[Schema, _Mapping]] = ..., batch: _Optional[_Union[Batch, _Mapping]] = ..., skip: _Optional[_Union[Skip, _Mapping]] = ..., close: _Optional[_Union[Close, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("prefix", "page_size", "page_token")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    page_size: int
    page_token: str
    def __init__(self, prefix: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[RunSummary]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[RunSummary, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class DeleteRunResponse(_message.Message):
    __slots__ = ("deleted_bytes",)
    DELETED_BYTES_FIELD_NUMBER: _ClassVar[int]
    deleted_bytes: int
    def __init__(self, deleted_bytes: _Optional[int] = ...) -> None: ...

class RunSummary(_message.Message):
    __slots__ = ("run_id", "run_name", "producers", "producer_count")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    PRODUCERS_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_COUNT_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    run_name: str
    producers: _containers.RepeatedCompositeFieldContainer[ProducerSummary]
    producer_count: int
    def __init__(self, run_id: _Optional[str] = ..., run_name: _Optional[str] = ..., producers: _Optional[_Iterable[_Union[ProducerSummary, _Mapping]]] = ..., producer_count: _Optional[int] = ...) -> None: ...

class ProducerSummary(_message.Message):
    __slots__ = ("producer_id", "rank", "stream", "host", "durable_seq", "stored_bytes", "connected", "outcome", "started_unix_nano", "last_seen_unix_nano", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    DURABLE_SEQ_FIELD_NUMBER: _ClassVar[int]
    STORED_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    STARTED_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    producer_id: bytes
    rank: int
    stream: str
    host: str
    durable_seq: int
    stored_bytes: int
    connected: bool
    outcome: CloseOutcome
    started_unix_nano: int
    last_seen_unix_nano: int
    labels: _containers.ScalarMap[str, str]
    def __init__(self, producer_id: _Optional[bytes] = ..., rank: _Optional[int] = ..., stream: _Optional[str] = ..., host: _Optional[str] = ..., durable_seq: _Optional[int] = ..., stored_bytes: _Optional[int] = ..., connected: bool = ..., outcome: _Optional[_Union[CloseOutcome, str]] = ..., started_unix_nano: _Optional[int] = ..., last_seen_unix_nano: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason", "retry_after_ms", "expected_seq")
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SEQ_FIELD_NUMBER: _ClassVar[int]
    reason: RefusalReason
    retry_after_ms: int
    expected_seq: int
    def __init__(self, reason: _Optional[_Union[RefusalReason, str]] = ..., retry_after_ms: _Optional[int] = ..., expected_seq: _Optional[int] = ...) -> None: ...
