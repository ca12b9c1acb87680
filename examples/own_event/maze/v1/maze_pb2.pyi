from esper_telemetry.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SearchEnd(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEARCH_END_UNSPECIFIED: _ClassVar[SearchEnd]
    SEARCH_END_REACHED: _ClassVar[SearchEnd]
    SEARCH_END_WALLED_IN: _ClassVar[SearchEnd]
SEARCH_END_UNSPECIFIED: SearchEnd
SEARCH_END_REACHED: SearchEnd
SEARCH_END_WALLED_IN: SearchEnd

class MazeSearched(_message.Message):
    __slots__ = ("cells_visited", "path_length", "wall_share", "end")
    CELLS_VISITED_FIELD_NUMBER: _ClassVar[int]
    PATH_LENGTH_FIELD_NUMBER: _ClassVar[int]
    WALL_SHARE_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    cells_visited: int
    path_length: int
    wall_share: float
    end: SearchEnd
    def __init__(self, cells_visited: _Optional[int] = ..., path_length: _Optional[int] = ..., wall_share: _Optional[float] = ..., end: _Optional[_Union[SearchEnd, str]] = ...) -> None: ...
