"""Frames of three scalars in a block, in which something is wrong, and a descriptor that may be honest or not."""

from __future__ import annotations

import struct

import zstandard
from google.protobuf.descriptor import FieldDescriptor

from esper_telemetry.events import ScalarLogged
from esper_telemetry.recordfile.index import mask_of
from esper_telemetry.recordfile.layout import Descriptor, pack_descriptor
from esper_telemetry.schema.planes import pack_integers, pack_reals, pack_unsigned
from esper_telemetry.v1 import record_pb2

START = 1_760_000_000_000_000_000
NAME, VALUE, STEP = 1, 2, 3  # fields of ScalarLogged
TEXT, DOUBLE, WHOLE = (ScalarLogged.DESCRIPTOR.fields_by_number[number].type for number in (NAME, VALUE, STEP))
assert (TEXT, DOUBLE) == (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_DOUBLE)


def doubles(*values: float) -> bytes:
    """Return doubles as a column has them."""
    return pack_reals(struct.pack(f"<{len(values)}d", *values), 8)


def floats(*values: float) -> bytes:
    """Return floats as a column has them."""
    return pack_reals(struct.pack(f"<{len(values)}f", *values), 4)


def planes(*values: int) -> bytes:
    """Return integers as a column has them."""
    return pack_integers(values)


COLUMNS = {
    NAME: {"field": NAME, "type": TEXT, "texts": ["loss"]},
    VALUE: {"field": VALUE, "type": DOUBLE, "doubles": doubles(0.5, 1.5, 2.5)},
    STEP: {"field": STEP, "type": WHOLE, "first": 1, "int_steps": planes(1, 1)},
}


WRONG = {
    # types
    "a text column in doubles": {"changed": {NAME: {"texts": None, "doubles": doubles(1.0, 2.0, 3.0)}}},
    "a double column in texts": {"changed": {VALUE: {"doubles": None, "texts": ["a", "b", "c"]}}},
    "a column in two forms": {"changed": {VALUE: {"floats": floats(0.5, 1.5, 2.5)}}},
    "a column in no form": {"changed": {VALUE: {"doubles": None}}},
    "a column of bytes": {"changed": {NAME: {"type": FieldDescriptor.TYPE_BYTES}}},
    "a column of no field": {"changed": {VALUE: {"field": 0}}},
    "two columns of one field": {"changed": {VALUE: {"field": STEP}}},
    "a number over 32 bits": {"changed": {STEP: {"type": FieldDescriptor.TYPE_INT32, "first": 1 << 40}}},
    "a number that grows over 32 bits": {"changed": {STEP: {"type": FieldDescriptor.TYPE_UINT32, "first": -1}}},
    "a bool that is 2": {"changed": {STEP: {"type": FieldDescriptor.TYPE_BOOL, "int_steps": None, "first": 2}}},
    "bools as bytes": {
        "changed": {
            STEP: {"type": FieldDescriptor.TYPE_BOOL, "first": None, "int_steps": None, "ints": planes(0, 1, 1)}
        }
    },
    # counts
    "fewer values than events": {"changed": {VALUE: {"doubles": doubles(1.0, 2.0)}}},
    "more values than events": {"changed": {VALUE: {"doubles": doubles(*[1.0] * 4)}}},
    "a part of a value": {"changed": {VALUE: {"doubles": doubles(0.5, 1.5, 2.5)[:-1]}}},
    "integers of no whole width": {"changed": {STEP: {"int_steps": b"\1\1\1"}}},
    "integers of nine bytes": {"changed": {STEP: {"int_steps": b"\1" * 18}}},
    "steps from nowhere": {"changed": {STEP: {"first": None}}},
    "a start of what has none": {"changed": {VALUE: {"first": 1}}},
    "fewer times than events": {"time_steps": b"\1"},
    "times of no whole width": {"time_steps": b"\1\1\1"},
    "more numbers than events": {"seq_steps": b"\1\1\1"},
    "no numbers": {"seq_steps": b""},
    "no event": {"events": 0, "seq_steps": b"", "time_steps": b"", "columns": []},
    "more events than there is room for": {"events": 1 << 31},
    "an index of no text": {"changed": {NAME: {"indices": b"\0\0\1"}}},
    "fewer indices than events": {"changed": {NAME: {"indices": b"\0\0"}}},
    "indices of what is no text": {"changed": {VALUE: {"indices": b"\0\0\0"}}},
    "payloads beside columns": {"payloads": [b"", b"", b""]},
    "fewer payloads than events": {"columns": [], "payloads": [b"", b""]},
    # type ids and numbers
    "type id 0": {"type_id": 0},
    "numbers that do not rise": {"seq_steps": b"\0\1"},
    "numbers that overflow": {"seq_steps": pack_unsigned([1, (1 << 64) - 1], (1 << 64) - 1)},
    "number 0": {"first_seq": 0},
    "a time before 1970": {"first_time_unix_nano": 0, "time_steps": planes(-1, 1)},
    "a time over 64 bits": {"first_time_unix_nano": (1 << 64) - 1},
}
LYING = {
    "fewer events than stated": {"records": 4, "last_seq": 4},
    "more events than stated": {"records": 2},
    "numbers below those stated": {"first_seq": 2},
    "numbers above those stated": {"last_seq": 2},
    "other types than stated": {"type_mask": mask_of([2])},
    "later times than stated": {"max_time": START + 1},
    "earlier times than stated": {"min_time": START + 1},
}


def block(*, changed=None, **fields) -> record_pb2.EventBlock:
    """Return three scalars with the numbers 1 to 3, in which something was changed.

    Args:
        changed: by field of the message, what is different in its column; None removes it.
        fields: of the block, instead of what it has.
    """
    made = [{**column, **(changed or {}).get(number, {})} for number, column in COLUMNS.items()]
    kept = {
        "type_id": 1,
        "events": 3,
        "first_seq": 1,
        "seq_steps": b"\1\1",
        "first_time_unix_nano": START,
        "time_steps": b"\1\1",
        "columns": [{name: value for name, value in one.items() if value is not None} for one in made],
    }
    return record_pb2.EventBlock(**{**kept, **fields})


def frame(*blocks, events: bytes = b"", **stated) -> tuple[bytes, Descriptor]:
    """Return a frame with its descriptor, and that descriptor.

    Args:
        blocks: what it holds.
        events: serialized elements before them.
        stated: of the descriptor, instead of what fits three scalars with the numbers 1 to 3.
    """
    raw = events + record_pb2.RecordFile(block=blocks).SerializeToString()
    data = zstandard.ZstdCompressor(write_checksum=True).compress(raw)
    desc = Descriptor(len(data), len(raw), 3, mask_of([1]), 1, 3, START, START + 2)._replace(**stated)
    return data + pack_descriptor(desc), desc
