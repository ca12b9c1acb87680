"""What people pass as a record."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import esper_telemetry
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


def test_what_a_folder_or_a_pattern_brings_along_is_passed_over_with_its_reason(folder):
    (folder / "a" / "._one.esr.zst").touch()
    (folder / "a" / "three.esr.zst").mkdir()
    for path in (folder / "a", f"{folder}/a/[!.]*", [folder / "a"]):
        found = record_files(path)
        assert names(found) == ["one.esr.zst", "two.esr.zst"], path
        assert "three.esr.zst" in [one.path.name for one in found.passed_over], path
        assert not found.alone
    assert {one.path.name for one in record_files(folder / "a").passed_over} == {"._one.esr.zst", "three.esr.zst"}


def test_a_folder_without_records_does_not_keep_the_others(folder):
    (folder / "notes").mkdir()
    found = record_files([folder / "notes", folder / "a"])
    assert names(found) == ["one.esr.zst", "two.esr.zst"]
    assert "holds no .esr.zst file" in found.passed_over[0].reason
    with pytest.raises(NotARecordError, match="holds no"):
        record_files(folder / "notes")


def test_only_one_file_that_is_named_stands_alone(folder):
    one = folder / "a" / "one.esr.zst"
    assert record_files(one).alone
    assert not record_files([one, folder / "a" / "two.esr.zst"]).alone
    assert not record_files(f"{folder}/a/one*").alone


def test_a_run_that_is_switched_off_has_no_file(monkeypatch, tmp_path):
    assert len(record_files(None)) == 0
    monkeypatch.setenv("ESPER_TELEMETRY_DISABLED", "1")
    with esper_telemetry.start_run(tmp_path, name="off") as run:
        pass
    records = esper_telemetry.read(run.folder)
    assert list(records) == []
    assert list(records.warnings) == []


def test_a_folder_that_cannot_be_listed_does_not_keep_the_others(folder, mocker):
    listed = os.listdir

    def refuse(path):
        if Path(path).name == "b":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    mocker.patch("os.listdir", side_effect=refuse)
    found = record_files([folder / "a", folder / "b"])
    assert names(found) == ["one.esr.zst", "two.esr.zst"]
    assert "cannot be listed: Permission denied" in str(found.passed_over[0])
    with pytest.raises(NotARecordError, match="cannot be listed"):
        record_files(folder / "b")
