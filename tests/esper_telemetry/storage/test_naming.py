import os
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile import SegmentName
from esper_telemetry.storage.naming import is_name, run_folder, segment_names
from esper_telemetry.v1 import record_pb2

HOSTILE = [
    "../../x",
    "..",
    ".",
    "",
    "a/b",
    "/etc/passwd",
    "a\0b",
    "a\nb",
    "-rf",
    "C:\\x",
    "x" * 129,
    "ü",
    "a b",
    "~/../x",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_that_could_leave_its_folder_is_no_name(text):
    assert not is_name(text)


def test_the_run_ids_that_start_run_makes_are_their_own_folders():
    assert run_folder("20261122T223328Z-digits-1f3a9c") == "20261122T223328Z-digits-1f3a9c"


@given(st.text(max_size=80))
def test_any_id_becomes_one_harmless_path_component(run_id):
    folder = run_folder(run_id)
    if run_id:
        assert PurePosixPath("root", folder).parts == ("root", folder)
    assert not folder.startswith(".")
    assert len(folder.encode()) <= 255
    assert folder.isascii()
    assert folder.isprintable()


@given(st.text(max_size=20), st.text(max_size=20))
def test_two_ids_never_share_a_folder(one, other):
    assert (run_folder(one) == run_folder(other)) == (one == other)


@pytest.mark.parametrize("run_id", ["=" * 128, "." * 100, "\U0001f331" * 70])
def test_an_id_too_long_to_encode_becomes_a_hash(run_id):
    assert run_folder(run_id).startswith("==") == (len(run_id.encode()) * 3 > 200 and run_id[0] != ".")
    assert len(run_folder(run_id)) <= 200


def header(**fields) -> record_pb2.Header:
    return record_pb2.Header(**{"producer_id": os.urandom(16), "stream": "main", "rank": 3, **fields})


def test_a_segment_is_named_like_every_segment(tmp_path):
    name = segment_names(header(anchor_unix_nano=1_760_000_000_000_000_000), 7)[0]
    parsed = SegmentName.parse(tmp_path / name)
    assert (parsed.stream, parsed.rank, parsed.started, parsed.segment) == ("main", 3, "20251009T085320Z", 7)


def test_no_start_and_no_rank_is_too_large_for_a_name(tmp_path):
    name = segment_names(header(anchor_unix_nano=(1 << 64) - 1, rank=(1 << 32) - 1), 1)[0]
    assert SegmentName.parse(tmp_path / name).started == "25540721T233433Z"


@pytest.mark.parametrize("stream", ["../x", "", "a/b", ".hidden"])
def test_a_stream_that_cannot_name_a_file_is_refused(stream):
    with pytest.raises(SinkError, match="cannot be a part of a file name"):
        segment_names(header(stream=stream), 1)


def test_the_names_of_a_segment_hold_each_part_of_the_producer_id(tmp_path):
    names = segment_names(header(producer_id=bytes(range(16))), 1)
    assert [SegmentName.parse(tmp_path / name).boot for name in names] == [
        "00010203",
        "04050607",
        "08090a0b",
        "0c0d0e0f",
    ]
