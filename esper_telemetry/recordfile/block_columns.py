"""Events of one type by column: how an `EventBlock` is read. `schema/event_block.py` writes them.

A block is checked whole before the first value of it is given out: rising sequence numbers, times that exist, columns
that agree with it (`column_values.py`). Values are made a column at a time, of the columns that are asked for; nothing
here makes an object for an event but `payloads` and `contexts`. Pure: bytes in, values out.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.recordfile.column_values import ColumnValues, check_planes, checked_column
from esper_telemetry.schema.event_block import MAX_CELLS
from esper_telemetry.schema.planes import unpack_integers
from esper_telemetry.v1 import record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_U64 = 1 << 64
_TYPE_ID_TAG, _LONGEST_ID = b"\x08", 6


class BlockColumns(NamedTuple):
    """A block, checked.

    Attributes:
        type_id: id in the type table, the same for all events.
        seqs: sequence number of each event, rising.
        times: time of each, nanoseconds since 1970 UTC.
        context: a column for each set field of Context, by number.
        columns: a column for each set field of the message, by number; empty where there are payloads.
        payloads: the serialized message of each event; None where there are columns.
        size: bytes of the block before compression; 0 where they are not known.
    """

    type_id: int
    seqs: list[int]
    times: list[int]
    context: dict[int, ColumnValues]
    columns: dict[int, ColumnValues]
    payloads: Sequence[bytes] | None
    size: int = 0

    def __len__(self) -> int:
        """Return how many events there are."""
        return len(self.seqs)

    def shares(self) -> tuple[int, int]:
        """Return what each event takes of the bytes of the block, and the number from which on it is a byte less."""
        share, rest = divmod(self.size, len(self.seqs))
        return share + 1, self.seqs[rest]

    def sizes(self) -> list[int]:
        """Return the share of each event in the bytes of the block."""
        share, from_seq = self.shares()
        return [share - (seq >= from_seq) for seq in self.seqs]

    def serialized_contexts(self) -> list[bytes]:
        """Return the serialized Context of each event; empty bytes where none is set."""
        return joined(self.context.values(), len(self.seqs))

    def serialized_payloads(self) -> list[bytes]:
        """Return the serialized message of each event."""
        if self.payloads is not None:
            return list(self.payloads)
        return joined(self.columns.values(), len(self.seqs))


def joined(columns: Iterable[ColumnValues], events: int) -> list[bytes]:
    """Return, for each event, its fields of `columns` as one serialized message."""
    parts = [column.serialized() for column in sorted(columns, key=lambda one: one.field)]
    return list(map(b"".join, zip(*parts, strict=True))) if parts else [b""] * events


def type_of_block(serialized: bytes) -> int:
    """Return the type id that a serialized `EventBlock` begins with; 0 where it begins with something else."""
    value = 0
    if serialized[:1] == _TYPE_ID_TAG:
        for place, byte in enumerate(serialized[1:_LONGEST_ID]):
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:  # noqa: PLR2004 - the last byte of a varint has no continuation bit
                return value
    return 0


def parse_block(serialized: bytes) -> BlockColumns:
    """Return a block, checked.

    Args:
        serialized: an `EventBlock`.

    Raises:
        CorruptRecordError: it is none, contradicts itself, or is over a limit.
    """
    try:
        block = record_pb2.EventBlock.FromString(serialized)
    except DecodeError as error:
        raise CorruptRecordError(f"the frame holds a block that is none: {error}") from None
    return block_columns(block, size=len(serialized))


def block_columns(block: record_pb2.EventBlock, *, size: int = 0) -> BlockColumns:
    """Check a parsed block.

    Args:
        block: an `EventBlock`.
        size: bytes that it took; 0 where that is not asked.

    Raises:
        CorruptRecordError: it contradicts itself, or is over a limit.
    """
    events = block.events
    where = f"a block of {events:,} events from sequence number {block.first_seq:,}"
    if not block.type_id or not events:
        raise CorruptRecordError(f"{where} has no type, or no events")
    seqs, times = _seqs(block, where), _times(block, where)
    payloads = block.payloads if len(block.payloads) else None
    if payloads is not None and (len(payloads) != events or len(block.columns)):
        raise CorruptRecordError(f"{where} has {len(payloads):,} payloads and {len(block.columns)} columns")
    if events * (len(block.context) + len(block.columns)) > MAX_CELLS:
        raise CorruptRecordError(f"{where} states over {MAX_CELLS:,} values, the limit of a frame")
    return BlockColumns(
        block.type_id, seqs, times, _by_field(block.context, events, where), _by_field(block.columns, events, where),
        payloads, size,
    )  # fmt: skip


def _seqs(block: record_pb2.EventBlock, where: str) -> list[int]:
    data, count = block.seq_steps, block.events - 1
    check_planes(data, count, f"{where}: its sequence numbers")
    steps = unpack_integers(data, count, signed=False) if count else ()
    seqs = list(accumulate(steps, initial=block.first_seq))
    stands = b"\0" in data if len(data) == count else 0 in steps  # a byte is found in no time
    if not seqs[0] or stands or seqs[-1] >= _U64:
        raise CorruptRecordError(f"{where} has sequence numbers that do not rise")
    return seqs


def _times(block: record_pb2.EventBlock, where: str) -> list[int]:
    data, count, first = block.time_steps, block.events - 1, block.first_time_unix_nano
    check_planes(data, count, f"{where}: its times")
    if not count:
        return [first]
    times = list(accumulate(unpack_integers(data, count), initial=first))
    furthest = count << 8 * (len(data) // count) - 1  # as far as steps of their width can lead
    if (first < furthest or first + furthest >= _U64) and (min(times) < 0 or max(times) >= _U64):
        raise CorruptRecordError(f"{where} has times outside of 64 bits")
    return times


def _by_field(columns: Iterable[record_pb2.Column], events: int, where: str) -> dict[int, ColumnValues]:
    found: dict[int, ColumnValues] = {}
    for column in columns:
        if column.field in found:
            raise CorruptRecordError(f"{where} has two columns of field {column.field}")
        found[column.field] = checked_column(column, events, where)
    return found
