from __future__ import annotations

from collections import Counter

from esper_telemetry.sinks.file import EarlierSegments


def test_what_is_missing_is_given_once_with_its_events(tmp_path):
    segments = EarlierSegments()
    paths = [tmp_path / name for name in "abc"]
    for number, path in enumerate(paths, 1):
        path.touch()
        segments.add(path, Counter({7: number}))
    assert segments.paths == tuple(paths)
    assert segments.take_missing() == []
    paths[1].unlink()
    assert segments.take_missing() == [(paths[1], Counter({7: 2}))]
    assert segments.take_missing() == []
    assert segments.paths == (paths[0], paths[2])


def test_what_was_deleted_on_purpose_is_not_missing(tmp_path):
    segments = EarlierSegments()
    segments.add(tmp_path / "a", Counter({1: 5}))
    segments.forget([tmp_path / "a", tmp_path / "never known"])
    assert segments.take_missing() == []


def test_a_folder_that_became_a_file_holds_nothing(tmp_path):
    segments = EarlierSegments()
    (tmp_path / "folder").touch()
    segments.add(tmp_path / "folder" / "a", Counter({1: 1}))
    assert [path.name for path, _ in segments.take_missing()] == ["a"]
