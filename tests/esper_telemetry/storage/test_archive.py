"""What only the disk tells: runs listed, weighed, pruned by age, deleted; files of others left alone."""

import os
import shutil
import time
from pathlib import Path

import pytest

from esper_telemetry.collector.limits import CollectorLimits
from esper_telemetry.collector.schema_check import SchemaCheck
from esper_telemetry.errors import SinkError
from esper_telemetry.storage import archive
from esper_telemetry.storage.archive import Expired
from esper_telemetry.storage.engine import PutFrame, Seal
from esper_telemetry.storage.naming import ProducerKey, run_folder
from esper_telemetry.storage.producer_files import ProducerFiles
from esper_telemetry.storage.recovery import recover
from tests.esper_telemetry.collector.publisher import START, Produced

LONG_AGO, BEFORE = 1.0, 1000.0


def store(root, produced, schemas=None) -> list:
    """Store each frame in a segment of its own, each with a schema of its own; return the files."""
    key = ProducerKey(produced.run_id, produced.producer_id)
    files = ProducerFiles(root, key)
    files.apply(files.claim())
    schemas = schemas or [produced.schema] * len(produced.raw)
    for raw, ref, schema in zip(produced.raw, produced.refs, schemas, strict=True):
        files.apply(SchemaCheck(CollectorLimits()).check(schema, key))
        files.apply(PutFrame(raw, ref.descriptor))
        files.apply(Seal())
    return [segment.path for segment in files.published]


def later(schema, **changes):
    """Return a schema of the same producer, of a later start or another rank or stream."""
    changed = type(schema).FromString(schema.SerializeToString())
    for name, value in changes.items():
        setattr(changed.header, name, value)
    return changed


def age(*paths) -> None:
    for path in paths:
        os.utime(path, (LONG_AGO, LONG_AGO))


def left(paths) -> list[bool]:
    return [path.exists() for path in paths]


def expire(root, kept=frozenset()):
    return archive.expire(root, lambda _: BEFORE, kept)


def test_all_old_segments_go_but_the_last(tmp_path):
    paths = store(tmp_path, Produced(frames=4))
    sizes = [path.stat().st_size for path in paths]
    age(*paths)
    assert expire(tmp_path) == [Expired(paths[0].parent.name, sizes[:3])]
    assert left(paths) == [False, False, False, True]
    assert expire(tmp_path) == []


def test_what_is_young_stays(tmp_path):
    paths = store(tmp_path, Produced(frames=4))
    age(paths[1])
    expire(tmp_path)
    assert left(paths) == [True, False, True, True]


@pytest.mark.parametrize(
    "changes", [{"anchor_unix_nano": START + 5_000_000_000}, {"rank": 7}, {"stream": "aaa"}, {"stream": "zzz"}]
)
def test_one_segment_stays_of_each_producer_not_of_each_schema_it_sent(tmp_path, changes):
    produced = Produced(frames=4)
    paths = store(tmp_path, produced, [produced.schema] * 2 + [later(produced.schema, **changes)] * 2)
    age(*paths)
    expire(tmp_path)
    assert left(paths) == [False, False, False, True]
    (recovered,) = recover(tmp_path).producers.values()
    assert recovered.durable_seq == produced.last_seq


def test_producers_whose_ids_start_alike_each_keep_their_last(tmp_path):
    one, other = (Produced(frames=3, rank=n, producer_id=b"same" + bytes([n]) * 12) for n in (1, 2))
    ones, others = store(tmp_path, one), store(tmp_path, other)
    assert all(f"-{b'same'.hex()}-" in path.name for path in ones + others)
    age(*ones, *others)
    expire(tmp_path)
    assert left(ones) == left(others) == [False, False, True]


def test_a_producer_that_is_in_memory_is_left_to_its_files(tmp_path):
    produced, other = Produced(frames=3), Produced(frames=3)
    mine, others = store(tmp_path, produced), store(tmp_path, other)
    age(*mine, *others)
    expire(tmp_path, frozenset({ProducerKey(produced.run_id, produced.producer_id)}))
    assert left(mine) == [True, True, True]
    assert left(others) == [False, False, True]


def test_files_of_others_and_of_another_run_are_left_alone(tmp_path):
    produced, other = Produced(frames=3), Produced(frames=3, run_id="another")
    paths = store(tmp_path, produced)
    strangers = [Path(shutil.copy(path, paths[0].parent)) for path in store(tmp_path, other)]
    text = paths[0].parent / "notes.txt"
    text.write_text("mine")
    fake = paths[0].with_name(paths[0].name.replace("-000001", "-000000"))
    fake.write_text("no record")
    age(*paths, *strangers, text, fake)
    expire(tmp_path)
    assert left([*strangers, text, fake]) == [True] * 5
    assert left(paths) == [False, False, True]


def test_runs_are_named_by_their_folders_and_where_that_is_too_long_by_a_header(tmp_path):
    long_id = "x" * 100 + "=" * 28  # an = is written as three letters
    for run_id in ("plain", "~odd=,", long_id):
        store(tmp_path, Produced(frames=1, run_id=run_id))
    assert run_folder(long_id).startswith("=") or len(run_folder(long_id)) <= 200
    for name in (".hidden", "no run", "==gone"):
        (tmp_path / name).mkdir()
    (tmp_path / "a-file").write_text("")
    assert archive.run_ids(tmp_path) == sorted(["plain", "~odd=,", long_id])
    assert archive.run_ids(tmp_path / "nowhere") == []


def test_producers_of_a_run_are_told_by_their_headers(tmp_path):
    first, second, other = Produced(frames=1), Produced(frames=2), Produced(frames=1, run_id="another")
    for produced in (first, second, other):
        store(tmp_path, produced)
    expected = sorted(ProducerKey(each.run_id, each.producer_id) for each in (first, second))
    assert archive.producers_of(tmp_path, first.run_id) == expected
    assert archive.producers_of(tmp_path, "none") == []


def test_a_deleted_run_is_gone_with_all_that_was_in_its_folder(tmp_path):
    paths = store(tmp_path, Produced(frames=2))
    size = sum(path.stat().st_size for path in paths)
    paths[0].with_name("x.torn").write_text("")
    assert archive.run_bytes(tmp_path, paths[0].parent.name) == size
    buried, grave = archive.bury_run(tmp_path, paths[0].parent.name)
    assert buried == size
    assert archive.run_ids(tmp_path) == []
    archive.remove(grave)
    assert list(tmp_path.iterdir()) == []
    assert archive.run_bytes(tmp_path, paths[0].parent.name) == 0


def test_a_link_in_the_place_of_a_run_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    paths = store(tmp_path / "elsewhere", Produced(frames=1))
    root = tmp_path / "store"
    root.mkdir()
    (root / "run").symlink_to(paths[0].parent)
    with pytest.raises(SinkError, match="cannot be deleted"):
        archive.bury_run(root, "run")
    assert left(paths) == [True]


def test_a_start_removes_what_a_killed_deletion_left(tmp_path):
    store(tmp_path, Produced(frames=2))
    kept = store(tmp_path, Produced(frames=1, run_id="kept"))
    archive.bury_run(tmp_path, Produced(frames=1).run_id)
    assert archive.sweep(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert left(kept) == [True]


def test_pruning_runs_of_one_segment_opens_no_file(tmp_path, monkeypatch):
    for number in range(500):
        folder = tmp_path / f"run-{number}"
        folder.mkdir()
        path = folder / f"main-r0-20260101T000000Z-{number:08x}-000001.esr.zst"
        path.write_text("opening it would fail the test")
        age(path)
    opened = []
    monkeypatch.setattr(archive, "RecordReader", opened.append)
    assert archive.expire(tmp_path, lambda _: time.time(), frozenset()) == []
    assert opened == []
