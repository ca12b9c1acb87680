from esper_telemetry.v1 import options_pb2 as _options_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Context(_message.Message):
    __slots__ = ("env_id", "device", "episode", "batch_idx", "inner_epoch", "global_epoch", "episodes_completed", "step", "rank", "group")
    ENV_ID_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    BATCH_IDX_FIELD_NUMBER: _ClassVar[int]
    INNER_EPOCH_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_EPOCH_FIELD_NUMBER: _ClassVar[int]
    EPISODES_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    env_id: int
    device: str
    episode: int
    batch_idx: int
    inner_epoch: int
    global_epoch: int
    episodes_completed: int
    step: int
    rank: int
    group: str
    def __init__(self, env_id: _Optional[int] = ..., device: _Optional[str] = ..., episode: _Optional[int] = ..., batch_idx: _Optional[int] = ..., inner_epoch: _Optional[int] = ..., global_epoch: _Optional[int] = ..., episodes_completed: _Optional[int] = ..., step: _Optional[int] = ..., rank: _Optional[int] = ..., group: _Optional[str] = ...) -> None: ...
