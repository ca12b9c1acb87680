from esper_telemetry.v1 import collector_pb2 as _collector_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LogMessage(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[LogEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[LogEntry, _Mapping]]] = ...) -> None: ...

class LogEntry(_message.Message):
    __slots__ = ("run_id", "producer_id", "session_epoch", "session_nonce", "open", "schema", "frame", "skip", "seal")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SESSION_NONCE_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    SKIP_FIELD_NUMBER: _ClassVar[int]
    SEAL_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    producer_id: bytes
    session_epoch: int
    session_nonce: int
    open: LogOpen
    schema: LogSchema
    frame: LogFrame
    skip: _collector_pb2.Skip
    seal: LogSeal
    def __init__(self, run_id: _Optional[str] = ..., producer_id: _Optional[bytes] = ..., session_epoch: _Optional[int] = ..., session_nonce: _Optional[int] = ..., open: _Optional[_Union[LogOpen, _Mapping]] = ..., schema: _Optional[_Union[LogSchema, _Mapping]] = ..., frame: _Optional[_Union[LogFrame, _Mapping]] = ..., skip: _Optional[_Union[_collector_pb2.Skip, _Mapping]] = ..., seal: _Optional[_Union[LogSeal, _Mapping]] = ...) -> None: ...

class LogOpen(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LogSchema(_message.Message):
    __slots__ = ("fingerprint", "header_frame", "raw_len")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    HEADER_FRAME_FIELD_NUMBER: _ClassVar[int]
    RAW_LEN_FIELD_NUMBER: _ClassVar[int]
    fingerprint: bytes
    header_frame: bytes
    raw_len: int
    def __init__(self, fingerprint: _Optional[bytes] = ..., header_frame: _Optional[bytes] = ..., raw_len: _Optional[int] = ...) -> None: ...

class LogFrame(_message.Message):
    __slots__ = ("schema_fingerprint", "crc32", "payload")
    SCHEMA_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    schema_fingerprint: bytes
    crc32: int
    payload: bytes
    def __init__(self, schema_fingerprint: _Optional[bytes] = ..., crc32: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...

class LogSeal(_message.Message):
    __slots__ = ("final_seq",)
    FINAL_SEQ_FIELD_NUMBER: _ClassVar[int]
    final_seq: int
    def __init__(self, final_seq: _Optional[int] = ...) -> None: ...
