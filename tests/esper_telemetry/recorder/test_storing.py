"""Files beside a record: hashed, or copied whole or not at all."""

from __future__ import annotations

import hashlib
import os

import pytest

from esper_telemetry.recorder.storing import hash_file, open_regular, store

CONTENT = os.urandom(3 << 20)
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(CONTENT)
    return path


def test_a_file_is_hashed_where_it_is(source):
    assert hash_file(source) == (len(CONTENT), SHA)


@pytest.mark.parametrize("durable", [False, True])
def test_a_copy_is_named_by_its_hash_and_has_every_byte(tmp_path, source, durable):
    stored, digest = store(tmp_path / "run" / "artifacts", "weights.pt", source, durable=durable)
    assert stored == tmp_path / "run" / "artifacts" / f"{SHA[:12]}-weights.pt"
    assert stored.read_bytes() == CONTENT
    assert digest == (len(CONTENT), SHA)


def test_bytes_are_stored_as_a_file_is(tmp_path, source):
    stored, digest = store(tmp_path / "artifacts", "x.bin", CONTENT, durable=False)
    assert stored.read_bytes() == CONTENT
    assert digest == hash_file(source)
    assert store(tmp_path / "artifacts", "empty", b"", durable=False)[1].size == 0


def test_the_same_bytes_take_room_once_and_others_under_one_name_stay_apart(tmp_path):
    folder = tmp_path / "artifacts"
    for content in (b"1", b"1", b"2"):
        store(folder, "x.txt", content, durable=False)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("a/b/c.png", "a-b-c.png"),
        ("../../etc/passwd", "etc-passwd"),
        ("späte Schicht.csv", "sp-te-Schicht.csv"),
        (".hidden", "artifact.hidden"),
        ("", "artifact"),
        ("x" * 300 + ".json", "x" * 80 + ".json"),
        ("a.tar.gz", "a.tar.gz"),
        ("v1.2 final", "v1.2-final"),
        ("nul\0.txt", "nul.txt"),
        ("\udcff.pt", "artifact.pt"),
    ],
)
def test_any_name_becomes_one_that_every_system_takes(tmp_path, name, end):
    stored, _ = store(tmp_path, name, b"x", durable=False)
    assert stored.parent == tmp_path
    assert stored.name.partition("-")[2] == end


def test_a_copy_that_fails_leaves_nothing_behind(tmp_path):
    folder = tmp_path / "artifacts"
    with pytest.raises(FileNotFoundError):
        store(folder, "x", tmp_path / "missing", durable=True)
    with pytest.raises(OSError, match="no regular file"):
        store(folder, "x", tmp_path, durable=True)
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes of a name")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        open_regular(tmp_path / "pipe")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a system without /dev/full")  # noqa: PTH110
def test_a_full_disk_is_an_error_and_leaves_nothing_behind(tmp_path, source, monkeypatch):
    folder = tmp_path / "artifacts"
    real = type(folder).open

    def full(self, mode="r", *arguments, **options):
        if mode == "xb":
            real(self, mode).close()
            return open("/dev/full", "wb", buffering=0)  # noqa: PTH123 - the caller closes it
        return real(self, mode, *arguments, **options)

    monkeypatch.setattr(type(folder), "open", full)
    with pytest.raises(OSError, match="No space left"):
        store(folder, "x", source, durable=False)
    assert list(folder.iterdir()) == []
