"""The files of one run: what the headers of its streams share."""

import copy

import esper_telemetry as et
from esper.v1 import seed_pb2
from esper_telemetry import events
from esper_telemetry.recordfile import RecordReader, SegmentName


def headers(run):
    found = {}
    for path in run.folder.iterdir():
        with RecordReader(path) as reader:
            found[SegmentName.parse(path).stream] = reader.header, reader.types
    return found


def test_the_header_of_a_child_says_what_its_parents_says_and_whose_child_it_is(tmp_path, in_child):
    with et.start_run(tmp_path, name="many", rank=3, schemas=[seed_pb2], record=et.RecordOptions(sync="every")) as run:

        def act():
            run.emit(events.ScalarLogged, name="child")
            assert run.flush()

        in_child(act)
    (own, own_types), (child, child_types) = headers(run)["main"], headers(run)["worker"]
    for name in ("run_id", "run_name", "rank", "host", "writer", "flush_policy"):
        assert getattr(child, name) == getattr(own, name)
    assert child.parent_producer_id == own.producer_id
    assert own.parent_producer_id == b""
    assert child.producer_id != own.producer_id
    assert child.pid != own.pid
    assert child.anchor_monotonic_nano > own.anchor_monotonic_nano
    shared = child_types.keys() & own_types.keys()
    assert {one: child_types[one] for one in shared} == {one: own_types[one] for one in shared}


def test_what_is_known_of_the_files_travels(tmp_path):
    with et.start_run(tmp_path, name="x") as run:
        files = run._core.files
        assert copy.deepcopy(files) == files
        assert files.folder == run.folder
        assert run.folder.is_absolute()
