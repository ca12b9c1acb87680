from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_GAUGE: _ClassVar[Kind]
    KIND_DELTA: _ClassVar[Kind]
    KIND_CUMULATIVE: _ClassVar[Kind]
    KIND_KEY: _ClassVar[Kind]

class Goal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GOAL_UNSPECIFIED: _ClassVar[Goal]
    GOAL_MINIMIZE: _ClassVar[Goal]
    GOAL_MAXIMIZE: _ClassVar[Goal]

class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEVEL_UNSPECIFIED: _ClassVar[Level]
    LEVEL_OFF: _ClassVar[Level]
    LEVEL_LIFECYCLE: _ClassVar[Level]
    LEVEL_MINIMAL: _ClassVar[Level]
    LEVEL_NORMAL: _ClassVar[Level]
    LEVEL_DEBUG: _ClassVar[Level]

class Shedding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHEDDING_UNSPECIFIED: _ClassVar[Shedding]
    SHEDDING_FIRST: _ClassVar[Shedding]
    SHEDDING_LATER: _ClassVar[Shedding]
    SHEDDING_NEVER: _ClassVar[Shedding]

class ContextKey(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONTEXT_KEY_UNSPECIFIED: _ClassVar[ContextKey]
    CONTEXT_KEY_ENV_ID: _ClassVar[ContextKey]
    CONTEXT_KEY_DEVICE: _ClassVar[ContextKey]
    CONTEXT_KEY_EPISODE: _ClassVar[ContextKey]
    CONTEXT_KEY_BATCH_IDX: _ClassVar[ContextKey]
    CONTEXT_KEY_INNER_EPOCH: _ClassVar[ContextKey]
    CONTEXT_KEY_GLOBAL_EPOCH: _ClassVar[ContextKey]
    CONTEXT_KEY_EPISODES_COMPLETED: _ClassVar[ContextKey]
    CONTEXT_KEY_STEP: _ClassVar[ContextKey]
    CONTEXT_KEY_RANK: _ClassVar[ContextKey]
    CONTEXT_KEY_GROUP: _ClassVar[ContextKey]
KIND_UNSPECIFIED: Kind
KIND_GAUGE: Kind
KIND_DELTA: Kind
KIND_CUMULATIVE: Kind
KIND_KEY: Kind
GOAL_UNSPECIFIED: Goal
GOAL_MINIMIZE: Goal
GOAL_MAXIMIZE: Goal
LEVEL_UNSPECIFIED: Level
LEVEL_OFF: Level
LEVEL_LIFECYCLE: Level
LEVEL_MINIMAL: Level
LEVEL_NORMAL: Level
LEVEL_DEBUG: Level
SHEDDING_UNSPECIFIED: Shedding
SHEDDING_FIRST: Shedding
SHEDDING_LATER: Shedding
SHEDDING_NEVER: Shedding
CONTEXT_KEY_UNSPECIFIED: ContextKey
CONTEXT_KEY_ENV_ID: ContextKey
CONTEXT_KEY_DEVICE: ContextKey
CONTEXT_KEY_EPISODE: ContextKey
CONTEXT_KEY_BATCH_IDX: ContextKey
CONTEXT_KEY_INNER_EPOCH: ContextKey
CONTEXT_KEY_GLOBAL_EPOCH: ContextKey
CONTEXT_KEY_EPISODES_COMPLETED: ContextKey
CONTEXT_KEY_STEP: ContextKey
CONTEXT_KEY_RANK: ContextKey
CONTEXT_KEY_GROUP: ContextKey
META_FIELD_NUMBER: _ClassVar[int]
meta: _descriptor.FieldDescriptor
EVENT_FIELD_NUMBER: _ClassVar[int]
event: _descriptor.FieldDescriptor
LABEL_FIELD_NUMBER: _ClassVar[int]
label: _descriptor.FieldDescriptor

class FieldMeta(_message.Message):
    __slots__ = ("unit", "min", "max", "kind", "goal", "allow_non_finite")
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    GOAL_FIELD_NUMBER: _ClassVar[int]
    ALLOW_NON_FINITE_FIELD_NUMBER: _ClassVar[int]
    unit: str
    min: float
    max: float
    kind: Kind
    goal: Goal
    allow_non_finite: bool
    def __init__(self, unit: _Optional[str] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., kind: _Optional[_Union[Kind, str]] = ..., goal: _Optional[_Union[Goal, str]] = ..., allow_non_finite: bool = ...) -> None: ...

class EventMeta(_message.Message):
    __slots__ = ("name", "level", "shedding", "requires", "urgent")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    SHEDDING_FIELD_NUMBER: _ClassVar[int]
    REQUIRES_FIELD_NUMBER: _ClassVar[int]
    URGENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    level: Level
    shedding: Shedding
    requires: _containers.RepeatedScalarFieldContainer[ContextKey]
    urgent: bool
    def __init__(self, name: _Optional[str] = ..., level: _Optional[_Union[Level, str]] = ..., shedding: _Optional[_Union[Shedding, str]] = ..., requires: _Optional[_Iterable[_Union[ContextKey, str]]] = ..., urgent: bool = ...) -> None: ...
