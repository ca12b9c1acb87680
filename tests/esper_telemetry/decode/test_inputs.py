"""What people pass as a record."""

from __future__ import annotations

import pytest

from esper_telemetry.decode import record_files
from esper_telemetry.errors import NotARecordError


@pytest.fixture
def folder(tmp_path):
    for name in ("a/one.esr.zst", "a/two.esr.zst", "b/three.esr.zst", "b/[x].esr.zst"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def names(paths):
    return [path.name for path in paths]


def test_a_file_is_itself_and_a_folder_its_records(folder):
    assert names(record_files(folder / "a" / "two.esr.zst")) == ["two.esr.zst"]
    assert names(record_files(str(folder / "a"))) == ["one.esr.zst", "two.esr.zst"]


def test_a_pattern_finds_files_and_folders(folder):
    assert names(record_files(f"{folder}/*/t*.zst")) == ["two.esr.zst", "three.esr.zst"]
    assert names(record_files(f"{folder}/a*")) == ["one.esr.zst", "two.esr.zst"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(folder):
    assert names(record_files(folder / "b" / "[x].esr.zst")) == ["[x].esr.zst"]


def test_a_file_named_twice_is_read_once(folder):
    assert names(record_files([folder / "a", folder / "a" / "one.esr.zst"])) == ["one.esr.zst", "two.esr.zst"]


@pytest.mark.parametrize("path", ["nothing", "nothing*", "."])
def test_nothing_there_is_refused_with_what_to_do(folder, path):
    with pytest.raises(NotARecordError, match=r"check the path|pass one of them"):
        record_files(folder / path)


def test_no_path_at_all_is_refused():
    with pytest.raises(NotARecordError, match="no path"):
        record_files([])
