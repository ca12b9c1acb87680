"""Opening a run: ids and type tables."""

import dataclasses
import os
import subprocess
import sys

import pytest

import esper_telemetry as et
from esper.v1 import seed_pb2
from esper_telemetry import errors, testing
from esper_telemetry.recorder.start import event_types, new_run_id
from esper_telemetry.recordfile import RecordReader, SegmentName, list_run
from esper_telemetry.v1 import training_pb2


def test_a_run_id_sorts_by_time_and_is_safe_in_a_path():
    clock = testing.FakeClock(wall=1_795_386_808_000_000_000)
    first = new_run_id("../../etc/passwd 100 %", clock)
    clock.advance(60)
    second = new_run_id("", clock)
    assert first.startswith("20261122T")
    assert "/" not in first
    assert ".." not in first.partition("-")[2][:2]
    assert first < second
    assert "-run-" in second


def test_a_given_schema_is_declared_at_once_and_a_built_in_type_with_its_first_event(tmp_path):
    own = {"esper_telemetry.v1.RunStarted", "esper_telemetry.v1.RunFinished"}
    with et.start_run(tmp_path, name="x", schemas=[seed_pb2]) as run:
        with RecordReader(run.paths[0]) as reader:
            declared = set(reader.types.values())
        assert {name for name in declared if name.startswith("esper_telemetry.")} == own
        assert "esper.v1.SeedCulled" in declared
        run.emit(training_pb2.ScalarLogged, name="a")
        assert run.flush()
        with RecordReader(run.paths[0]) as reader:
            assert set(reader.types.values()) == declared | {"esper_telemetry.v1.ScalarLogged"}


@pytest.mark.parametrize("schema", [object(), 3, "seed_pb2", dict])
def test_a_schema_that_declares_no_event_is_refused(schema):
    with pytest.raises(errors.SchemaError):
        event_types([schema])


def test_types_are_numbered_once():
    types = event_types([seed_pb2, seed_pb2.SeedCulled])
    names = [one.full_name for one in types]
    assert len(names) == len(set(names))


def test_old_segments_go_when_only_so_much_is_to_be_kept(tmp_path):
    options = et.RecordOptions(segment_bytes=60_000, keep_bytes=150_000)
    with et.start_run(tmp_path, name="x", record=options) as run:
        for _ in range(40):
            for _ in range(50):
                run.emit(training_pb2.ScalarLogged, name=os.urandom(200).hex())
            run.flush()
    left = list_run(run.folder)
    assert left == list(run.paths)
    assert 1 < len(left) < SegmentName.parse(left[-1]).segment
    assert sum(path.stat().st_size for path in left[:-1]) <= options.keep_bytes
    seqs = [event.seq for event in et.read(run.folder)]
    assert seqs == list(range(seqs[0], 2003)), "nothing is missing behind the oldest"


def test_every_option_of_the_record_reaches_its_place(tmp_path, mocker):
    opened = mocker.spy(et.sinks.FileSink, "__init__")
    options = et.RecordOptions(
        flush_interval=0.5, sync="every", frame_bytes=5000, buffer_bytes=70_000, reserve_bytes=8000, close_timeout=3.0,
        segment_bytes=90_000, segment_seconds=7.0, keep_bytes=200_000, on_error="raise", children="count",
        redact=("lr",), argv=False, system_interval=60.0, compact=False,
    )  # fmt: skip
    assert not {field.name for field in dataclasses.fields(options) if getattr(options, field.name) == field.default}
    with (
        et.start_run(tmp_path, name="x", record=options, config={"lr": 1, "n": 2}) as run,
        RecordReader(run.paths[0]) as reader,
    ):
        header = reader.header
        core = run._core
    started = next(iter(et.read(run.folder))).data
    assert "argv" not in started
    assert started["config_json"] == '{"lr":"[redacted]","n":2}'
    policy = header.flush_policy
    assert (policy.frame_bytes, policy.flush_interval_s, policy.sync) == (5000, 0.5, "every")
    given = opened.call_args.kwargs
    assert (given["max_bytes"], given["max_age_s"], given["keep_bytes"]) == (90_000, 7.0, 200_000)
    assert (given["sync"], given["sync_interval_s"]) == ("every", 0.5)
    assert core.options is options
    assert not core.files.compacts


STARTS = """
import sys, esper_telemetry as et
with et.start_run(sys.argv[1], name='x', run_id='x', tags={'t': sys.argv[2]}): pass
"""


def test_a_program_starts_its_run_whatever_it_was_called_with(tmp_path):
    arguments = [b"/data/caf\xe9.npz", "--hf-token=EXAMPLE1", "--api-key", "EXAMPLE2", "x" * 100_000]
    subprocess.run([sys.executable, "-c", STARTS, tmp_path, *arguments], check=True, capture_output=True)
    started = next(iter(et.read(tmp_path / "x"))).data
    assert started["argv"][2:6] == [r"/data/caf\xe9.npz", "--hf-token=[redacted]", "--api-key", "[redacted]"]
    assert started["redacted"] == ["argv[3]", "argv[5]"]
    assert started["tags"] == {"t": r"/data/caf\xe9.npz"}
    assert b"EXAMPLE" not in b"".join(path.read_bytes() for path in (tmp_path / "x").iterdir())


def test_a_program_starts_its_run_in_a_folder_that_is_gone(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    program = f"import os; os.rmdir({str(gone)!r})\n{STARTS}"
    subprocess.run([sys.executable, "-c", program, tmp_path / "runs", "t"], cwd=gone, check=True, capture_output=True)
    assert "git" not in next(iter(et.read(tmp_path / "runs" / "x"))).data


def test_the_source_tree_of_a_run_is_in_its_record(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    source = tmp_path / "source"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", "-C", str(source)]
    subprocess.run(["git", "init", "-q", "-b", "trunk", source], check=True)
    (source / "train.py").write_text("lr = 1\n")
    subprocess.run([*git, "add", "train.py"], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.chdir(source)
    for text, dirty in (("lr = 1\n", False), ("lr = 2\n", True)):
        (source / "train.py").write_text(text)
        with et.start_run(tmp_path / "runs", name="x") as run:
            pass
        expected = {"commit": commit, "branch": "trunk", "dirty": dirty}
        assert next(iter(et.read(run.folder))).data["git"] == expected


def test_a_control_names_the_run_that_it_is_the_control_of(tmp_path):
    with et.start_run(tmp_path, name="x", control_of="exp-7") as run:
        pass
    assert next(iter(et.read(run.folder))).data["control_of"] == "exp-7"
    with pytest.raises(errors.ConfigError, match="control_of"):
        et.start_run(tmp_path, name="x", control_of=7)
