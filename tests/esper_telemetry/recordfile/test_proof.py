"""What lost headers declared: made again where the fingerprint agrees, and nowhere else."""

from __future__ import annotations

import pytest

from esper_telemetry.recordfile import RecordReader, RecordWriter
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.proof import Declarable, LostHeaders
from esper_telemetry.recordfile.source import BytesSource
from esper_telemetry.schema import file_closure
from esper_telemetry.v1 import context_pb2


@pytest.fixture
def could(records) -> Declarable:
    files = file_closure([context_pb2.Context, *(kind.cls for _, kind in records.types)]).file
    return Declarable({number: kind.full_name for number, kind in records.types}, {file.name: file for file in files})


@pytest.fixture
def written(records) -> bytes:
    """A record whose first header declares nothing, and whose second one two types."""
    writer = RecordWriter(records.path(), records.header(), records.types)
    for first in (1, 11):
        writer.write(records.batch(first, 10))
    writer.close()
    return writer.path.read_bytes()


def without(data: bytes, *which: int) -> bytes:
    """Return a record whose headers of these numbers are zeros."""
    damaged = bytearray(data)
    for at in which:
        offset, desc = RecordReader(data).segments[0].headers[at]
        damaged[offset : offset + desc.compressed_size] = bytes(desc.compressed_size)
    return bytes(damaged)


def look(data: bytes, could: Declarable) -> LostHeaders:
    return LostHeaders(BytesSource(data), FrameDecoder(), could)


@pytest.mark.parametrize("which", [(0,), (1,), (0, 1)])
def test_what_a_lost_header_declared_is_made_again_byte_for_byte(written, records, could, which):
    found = look(without(written, *which), could)
    sets = RecordReader(written).descriptor_sets
    assert [one.file_descriptor_set for one in found.proven] == [sets[at] for at in which]
    assert (found.whole.first, found.unproven) == (True, 0)
    assert list(found.whole.types) == [records.scalar, records.epoch]


def test_of_a_whole_file_there_is_nothing_to_prove(written, could):
    found = look(written, could)
    assert (found.proven, found.unproven) == ([], 0)


def test_other_definitions_prove_nothing(written, could):
    scalar = could.files["esper_telemetry.v1.ScalarLogged"]
    scalar.message_type[0].field[0].name = "other"
    found = look(without(written, 1), could)
    assert (found.proven, found.unproven) == ([], 1)


def test_a_first_header_that_is_not_proven_is_said_to_be_missing(written, could):
    del could.files["esper_telemetry.v1.Context"]
    found = look(without(written, 0), could)
    assert (found.whole.first, found.unproven) == (False, 1)
