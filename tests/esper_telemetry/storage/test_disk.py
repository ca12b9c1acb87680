import resource

import pytest

from esper_telemetry.errors import ConfigError, SinkError
from esper_telemetry.storage.disk import claim_folder, raise_file_limit, too_few_files, try_storage
from tests.esper_telemetry.storage.test_segment_writer import files_end_at


def test_a_folder_belongs_to_one_collector_at_a_time(tmp_path):
    folder = tmp_path / "store"
    lock = claim_folder(folder)
    with pytest.raises(ConfigError, match="another collector"):
        claim_folder(folder)
    lock.close()
    claim_folder(folder).close()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError):
        claim_folder(tmp_path / "file" / "store")


def test_a_disk_that_works_has_a_free_part_and_no_problem(tmp_path):
    free, problem = try_storage(tmp_path, failed=True)
    assert 0 < free <= 1
    assert not problem
    assert not list(tmp_path.iterdir()), "the probe is removed"


def test_a_disk_that_refuses_writes_has_a_problem(tmp_path):
    with files_end_at(0):
        assert try_storage(tmp_path, failed=True)[1]
        assert not try_storage(tmp_path, failed=False)[1], "it is tried after an error only"
    assert not list(tmp_path.iterdir())
    assert try_storage(tmp_path / "gone", failed=False)[1]


def test_as_many_files_may_be_open_as_the_system_allows():
    raise_file_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard


def test_a_limit_of_open_files_that_is_too_low_is_told_with_what_is_needed():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert not too_few_files(10, 10)
    assert f"this process may open {limit:,} files" in too_few_files(limit, 10)
