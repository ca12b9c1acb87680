"""A folder of runs without its collector: listed as it stands, deleted only where no collector runs."""

import pytest

from esper_telemetry.errors import ConfigError
from esper_telemetry.recordfile import HeaderInfo, RecordWriter
from esper_telemetry.storage.archive import delete_stored, stored_run
from esper_telemetry.storage.disk import claim_folder
from tests.esper_telemetry.collector.publisher import TYPES, Produced, make_batch
from tests.esper_telemetry.storage.test_archive import store


def contents(root) -> dict:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_run_is_listed_by_its_producers_and_nothing_is_changed(tmp_path):
    one, other = Produced(frames=3, rank=1, run_name="mine"), Produced(frames=2, rank=0)
    paths = store(tmp_path, one) + store(tmp_path, other)
    (paths[0].parent / "junk.esr.zst").write_text("no record")
    before = contents(tmp_path)
    run = stored_run(tmp_path, one.run_id)
    assert [(each.rank, each.durable_seq) for each in run.producers] == [(0, 50), (1, 75)]
    assert (run.run_name, run.producer_count) == ("mine", 2)
    assert sum(each.stored_bytes for each in run.producers) == sum(path.stat().st_size for path in paths)
    assert contents(tmp_path) == before


def test_a_run_is_deleted_and_others_stay(tmp_path):
    doomed, kept = Produced(frames=2), Produced(frames=1, run_id="kept")
    size = sum(path.stat().st_size for path in store(tmp_path, doomed))
    store(tmp_path, kept)
    assert delete_stored(tmp_path, doomed.run_id) == size
    assert sorted(path.name for path in tmp_path.iterdir()) == [".collector.lock", "kept"]
    claim_folder(tmp_path).close()


def test_nothing_is_deleted_under_a_collector(tmp_path):
    produced = Produced(frames=2)
    store(tmp_path, produced)
    before = contents(tmp_path)
    with claim_folder(tmp_path), pytest.raises(ConfigError, match="a collector runs on this folder; delete through it"):
        delete_stored(tmp_path, produced.run_id)
    assert {path: content for path, content in contents(tmp_path).items() if path.name[0] != "."} == before


@pytest.mark.parametrize("run_id", ["none", "..", ".", "", "a/b", "../store"])
def test_what_is_no_run_is_not_deleted_and_nothing_is_made(tmp_path, run_id):
    root = tmp_path / "store"
    root.mkdir()
    store(root, Produced(frames=1))
    before = contents(tmp_path)
    with pytest.raises(ConfigError):
        delete_stored(root, run_id)
    assert contents(tmp_path) == before


def test_a_run_that_no_collector_wrote_is_left_to_its_owner(tmp_path):
    folder = tmp_path / "trainer"
    folder.mkdir()
    path = folder / "main-r0-20260101T000000Z-00000001-000001.esr.zst"
    writer = RecordWriter(path, HeaderInfo(run_id="trainer", producer_id=b"x" * 16), TYPES)
    writer.write(make_batch(1, 5))
    writer.close()
    assert not stored_run(tmp_path, "trainer").producers
    with pytest.raises(ConfigError, match="no run 'trainer' of a collector"):
        delete_stored(tmp_path, "trainer")
    assert [each.name for each in tmp_path.rglob("*")] == ["trainer", path.name]
