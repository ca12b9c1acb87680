"""Artifacts: recorded with size and hash, read by a thread of its own, copied where that was asked for."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import torch

import esper_telemetry as et
from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder import artifacts
from esper_telemetry.testing import memory_run, recorded

PNG = b"\x89PNG drawn"


class Figure:
    """Draws itself as matplotlib's figures do."""

    def savefig(self, file, *, format):  # noqa: A002 - as matplotlib calls it
        assert format == "png"
        file.write(PNG)


class Undrawable:
    def savefig(self, file, *, format):  # noqa: A002
        raise RuntimeError("no backend")


def sha(content):
    return hashlib.sha256(content).hexdigest()


def logged(folder):
    return [event.data for event in et.read(folder) if event.type == "artifact.logged"]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(b"a,b\n1,2\n")
    return path


def test_a_file_is_recorded_where_it_is(record_run, table):
    folder = record_run(lambda run: run.log_artifact(table, step=3))
    (data,) = logged(folder)
    assert data == {
        "name": "table.csv", "path": str(table), "copied": False, "mime": "text/csv", "size_bytes": 8,
        "sha256": sha(table.read_bytes()), "step": 3,
    }  # fmt: skip
    assert not (folder / "artifacts").exists()


def test_a_copy_is_in_the_folder_of_the_run_and_its_source_may_go_at_once(record_run, table):
    content = table.read_bytes()

    def fill(run):
        run.log_artifact(str(table), name="final table", mime="text/x-table", copy=True)
        table.unlink()

    folder = record_run(fill)
    (data,) = logged(folder)
    assert (folder / data["path"]).read_bytes() == content
    assert (data["name"], data["mime"], data["copied"]) == ("final table", "text/x-table", True)
    assert data["sha256"] == sha(content)


def test_a_large_file_is_copied_by_the_time_the_run_is_closed(record_run, tmp_path):
    content = os.urandom(5 << 20)
    (tmp_path / "policy.pt").write_bytes(content)
    folder = record_run(lambda run: run.log_artifact(tmp_path / "policy.pt", copy=True))
    (data,) = logged(folder)
    assert (folder / data["path"]).read_bytes() == content
    assert "mime" not in data


def test_bytes_and_figures_are_copied(record_run):
    def fill(run):
        run.log_artifact(b"{}", name="settings.json")
        run.log_artifact(bytearray(b"raw"), mime="video/mp4", name="episode")
        run.log_artifact(memoryview(b"raw"))
        run.log_artifact(Figure(), name="curve")

    folder = record_run(fill)
    assert [(data["name"], data.get("mime"), (folder / data["path"]).read_bytes()) for data in logged(folder)] == [
        ("settings.json", "application/json", b"{}"),
        ("episode", "video/mp4", b"raw"),
        ("artifact", None, b"raw"),
        ("curve", "image/png", PNG),
    ]
    assert {os.path.splitext(data["path"])[1] for data in logged(folder)} == {".json", ".mp4", "", ".png"}  # noqa: PTH122


def test_a_real_figure_is_a_png(record_run):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    folder = record_run(lambda run: run.log_artifact(figure))
    (data,) = logged(folder)
    assert (folder / data["path"]).read_bytes().startswith(b"\x89PNG")


def test_what_is_not_recorded_is_not_copied_either(record_run, table):
    folder = record_run(lambda run: run.log_artifact(table, copy=True), level="lifecycle")
    assert not (folder / "artifacts").exists()


def test_what_cannot_be_read_is_recorded_with_the_reason(record_run, tmp_path):
    def fill(run):
        for source in (tmp_path / "missing.pt", tmp_path, "nul\0.pt"):
            for copy in (False, True):
                run.log_artifact(source, copy=copy)

    found = logged(record_run(fill))
    assert len(found) == 6
    for data in found:
        assert data["error"]
        assert not data["copied"]
        assert not {"sha256", "size_bytes"} & set(data)


def test_a_path_that_utf8_cannot_hold_is_escaped(record_run, tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.txt"
    with open(path, "wb") as file:  # noqa: PTH123 - a name in bytes
        file.write(b"x")
    folder = record_run(
        lambda run: (run.log_artifact(os.fsdecode(path)), run.log_artifact(os.fsdecode(path), copy=True))
    )
    there, copy = logged(folder)
    assert there["path"] == f"{tmp_path}/\\udcff.txt"
    assert there["sha256"] == copy["sha256"] == sha(b"x")


@pytest.mark.parametrize("source", [5, None, torch.ones(2), object(), Undrawable()], ids=lambda one: type(one).__name__)
def test_what_is_no_artifact_is_counted_and_raises_only_in_a_test(source):
    run, _ = memory_run(strict=False)
    run.log_artifact(source)
    run.close()
    assert run.stats().drops == {("esper_telemetry.v1.ArtifactLogged", "invalid"): 1}
    strict, _ = memory_run()
    with pytest.raises(SchemaError):
        strict.log_artifact(source)
    strict.close()


def test_a_run_without_a_folder_copies_nothing_and_says_so(table):
    run, sink = memory_run()
    run.log_artifact(table)
    run.log_artifact(table, copy=True)
    run.close()
    there, copy = (event.data for event in recorded(sink) if event.name == "artifact.logged")
    assert there["sha256"] == sha(table.read_bytes())
    assert copy["error"] == "the run has no folder to copy it into"


@pytest.fixture
def slow_disk(monkeypatch):
    """A disk on which reading a file waits until it is let go."""
    release, begun = threading.Event(), threading.Event()
    real = artifacts.hash_file

    def waiting(path):
        begun.set()
        release.wait()
        return real(path)

    monkeypatch.setattr(artifacts, "hash_file", waiting)
    yield begun, release
    release.set()


def test_the_caller_does_not_wait_and_a_close_not_for_long(slow_disk, table):
    begun, _ = slow_disk
    run, sink = memory_run(record=et.RecordOptions(close_timeout=0.05))
    for _ in range(3):
        run.log_artifact(table)
    begun.wait()
    run.close()
    found = [event.data for event in recorded(sink) if event.name == "artifact.logged"]
    assert [data["error"] for data in found] == ["it was not read before the run ended"] * 3
    assert [data["path"] for data in found] == [str(table)] * 3
    assert run.stats().dropped == 0


def test_what_waits_is_bounded_and_the_rest_is_counted(slow_disk, table, monkeypatch):
    monkeypatch.setattr(artifacts, "_MOST_WAITING", 4)
    begun, release = slow_disk
    run, sink = memory_run()
    run.log_artifact(table)
    begun.wait()
    for _ in range(9):
        run.log_artifact(table)
    release.set()
    run.close()
    assert run.stats().drops == {("esper_telemetry.v1.ArtifactLogged", "buffer_full"): 6}
    assert len([event for event in recorded(sink) if event.name == "artifact.logged"]) == 4


def test_bytes_that_wait_are_bounded_too(slow_disk, table, monkeypatch):
    monkeypatch.setattr(artifacts, "_MOST_WAITING_BYTES", 100)
    begun, release = slow_disk
    run, _ = memory_run()
    run.log_artifact(table)
    begun.wait()
    for _ in range(5):
        run.log_artifact(b"x" * 60)
    release.set()
    run.close()
    assert run.stats().drops == {("esper_telemetry.v1.ArtifactLogged", "buffer_full"): 3}


def test_when_its_thread_has_died_artifacts_are_recorded_unread(table, monkeypatch):
    monkeypatch.setattr(artifacts, "hash_file", lambda _: 1 // 0)
    run, sink = memory_run()
    run.log_artifact(table)
    while not run.stats().deaths:
        threading.Event().wait(0.01)
    run.log_artifact(table)
    run.close()
    found = [event.data["error"] for event in recorded(sink) if event.name == "artifact.logged"]
    assert sorted(found) == ["it was not read before the run ended", "the thread that reads artifacts has died"]


@pytest.mark.parametrize("sync", ["none", "close"])
def test_a_copy_is_as_durable_as_the_record(record_run, monkeypatch, sync):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())), real(fd)))
    folder = record_run(lambda run: run.log_artifact(b"x", name="x.bin"), record=et.RecordOptions(sync=sync))
    copies = [path for path in synced if "artifacts" in path]
    assert bool(copies) is (sync != "none")
    if sync != "none":
        assert str(folder / "artifacts") in copies


def test_readers_and_repair_pass_over_the_copies(record_run, table, tmp_path):
    folder = record_run(lambda run: run.log_artifact(table, copy=True))
    record = next(folder.glob("*.esr.zst"))
    (folder / "artifacts" / "000000000000-other.esr.zst").write_bytes(record.read_bytes()[:100])
    for verb in (["info"], ["verify"], ["cat"], ["stats"], ["recover", "-o", str(tmp_path / "recovered")]):
        command = [sys.executable, "-m", "esper_telemetry", *verb, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (verb, done.stdout, done.stderr)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_fork_child_harms_nothing_of_its_parents(tmp_path):
    program = textwrap.dedent("""
        import os, sys, esper_telemetry as et
        with et.start_run(sys.argv[1], name="fork", run_id="fork") as run:
            run.log_artifact(b"parent", name="parent.bin")
            child = os.fork()
            if not child:
                run.log_artifact(b"child", name="child.bin")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            run.log_artifact(b"after", name="after.bin")
    """)
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True, timeout=60)
    names = {data["name"] for data in logged(tmp_path / "fork")}
    assert {"parent.bin", "after.bin"} <= names


def test_an_interrupt_between_taking_and_handing_over_loses_no_artifact(table):
    run, sink = memory_run()
    run.log_artifact(table)

    class Interrupted:
        def put(self, _number):
            raise KeyboardInterrupt

    queue = run._artifacts._queue
    run._artifacts._queue = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        run.log_artifact(table)
    run._artifacts._queue = queue
    run.close()
    found = [event.data.get("error") for event in recorded(sink) if event.name == "artifact.logged"]
    assert found == [None, "it was not read before the run ended"]
