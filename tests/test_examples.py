"""Every example runs as its header states, and its record holds what the example itself counted."""

from __future__ import annotations

import ast
import filecmp
import os
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import esper_telemetry as et
from esper_telemetry.recordfile import verify
from tools.gen_proto import generator_path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def run(*command: object, cwd: Path, status: int = 0, env: dict[str, str] | None = None) -> str:
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**ENVIRONMENT, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == status, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def example(name: str, cwd: Path) -> tuple[str, Path]:
    """Run an example; return what it printed, and the only run below `runs`, whose files are all good and closed."""
    said = run(sys.executable, EXAMPLES / name, "runs", cwd=cwd)
    return said, only_run(cwd / "runs")


def only_run(runs: Path) -> Path:
    (folder,) = (path for path in runs.iterdir() if path.is_dir())
    assert all(verify(path).good for path in folder.glob("*.esr.zst"))
    return folder


def scalars(folder: Path, **choice) -> list[dict[str, float]]:
    return [event.data["scalars"] for event in et.read(folder, types="scalars.logged", **choice)]


def endings(folder: Path) -> list[dict]:
    return [event.data for event in et.read(folder, types="run.finished")]


def test_the_plain_loop_prints_what_is_in_its_record(tmp_path):
    said, folder = example("plain_loop.py", tmp_path)
    printed = {name: int(count) for count, name in re.findall(r"^ +(\d+) (\S+)$", said, re.MULTILINE)}
    assert printed == Counter(event.type for event in et.read(folder))
    assert [f"{each['loss']:.4f}" for each in scalars(folder)] == re.findall(r"loss ([\d.]+)", said)
    (end,) = endings(folder)
    assert (end["outcome"], end["dropped"]) == ("completed", 0)
    assert end["results"]["loss"] == scalars(folder)[-1]["loss"] < 0.05


def test_masked_ppo_counts_on_the_device_what_its_loop_counts(tmp_path):
    said, folder = example("masked_ppo.py", tmp_path)
    chosen, restricted, total, illegal = Counter(), 0, 0, 0
    for event in et.read(folder, types="policy.*"):
        if event.type == "policy.action_distribution":
            chosen.update(event.data["action_counts"])
        elif event.type == "policy.mask_hit_rates":
            restricted += event.data["mask_hits"]["move"]
            total += event.data["mask_total"]["move"]
            illegal += event.data["heads"][0]["invalid_selected"]
    assert chosen == ast.literal_eval(re.search(r"chosen: (.*)", said)[1])
    assert f"forbidden in {restricted} of {total} decisions" in said
    assert illegal == 0
    updates = [event.data["batch_idx"] for event in et.read(folder, types="ppo.update_completed")]
    assert updates == list(range(1, 13))
    assert f"{next(reversed(list(et.read(folder, types='ppo.*')))).data['episodes_completed']} episodes\nchosen" in said


def test_two_ranks_record_into_one_run(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    said = run(*torchrun, EXAMPLES / "ddp_gloo.py", "runs", cwd=tmp_path)
    folder = only_run(tmp_path / "runs")
    for rank in (0, 1):
        losses = [each["loss"] for each in scalars(folder, ranks=[rank])]
        assert len(losses) == 20
        assert f"rank {rank}: loss {losses[-1]:.4f} after 20 steps" in said
    assert [(end["outcome"], end["dropped"]) for end in endings(folder)] == [("completed", 0)] * 2


def test_each_sample_of_the_workers_is_recorded_once_an_epoch(tmp_path):
    said, folder = example("workers.py", tmp_path)
    events = list(et.read(folder, types="scalars.logged"))
    samples = Counter(each["augment/sample"] for each in scalars(folder) if "augment/sample" in each)
    assert samples == dict.fromkeys(range(60), 2)
    assert "120 samples were loaded, 120 were expected" in said
    processes = Counter(event.producer_id.hex()[:8] for event in events)
    assert len(processes) == 6
    assert processes == {name: int(count) for name, count in re.findall(r"process (\w+): +(\d+)", said)}


def test_an_own_event_is_read_without_its_code(tmp_path):
    said, folder = example("own_event/search_mazes.py", tmp_path)
    events = list(et.read(folder, types="maze.searched"))
    assert not any(name.startswith("maze") for name in sys.modules)
    assert [event.data["episode"] for event in events] == list(range(40))
    ends = Counter(event.data["end"] for event in events)
    assert f"{ends['reached']} of 40 mazes have a way" in said
    assert ends["reached"] == sum("path_length" in event.data for event in events)
    assert events[0].units["wall_share"] == "1"
    assert "Cells that were looked at." in run(BIN / "esper-telemetry", "schema", folder, cwd=tmp_path)


def test_the_generated_module_of_the_own_event_is_that_of_its_schema(tmp_path):
    copy = shutil.copytree(EXAMPLES / "own_event", tmp_path / "own_event", ignore=shutil.ignore_patterns("__pycache__"))
    run("sh", copy / "generate.sh", cwd=tmp_path, env={"PYTHONPATH": str(generator_path(ROOT / ".protoc"))})
    names = ["maze_pb2.py", "maze_pb2.pyi", "schema.binpb"]
    assert filecmp.cmpfiles(copy / "maze/v1", EXAMPLES / "own_event/maze/v1", names, shallow=False) == (names, [], [])


@pytest.fixture
def collector(tmp_path):
    """A collector of the example's configuration on a free port; yields its folder and its address."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and the example makes its certificate with it")
    server = tmp_path / "server"
    run("sh", EXAMPLES / "collector_tls" / "prepare.sh", server, cwd=tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        BIN / "esper-telemetry",
        "collect",
        "--config",
        server / "collector.toml",
        "--listen",
        f"127.0.0.1:{port}",
    ]
    with (tmp_path / "collector.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT)
    yield server, f"localhost:{port}"
    process.terminate()
    assert process.wait(60) == 0, (tmp_path / "collector.log").read_text()


def test_a_collector_with_tls_and_a_token_stores_what_the_trainer_recorded(collector, tmp_path):
    server, address = collector
    said = run(sys.executable, EXAMPLES / "collector_tls" / "trainer.py", server, address, "runs", cwd=tmp_path)
    folder = only_run(tmp_path / "runs")
    stored = only_run(server / "collected")
    assert f"the collector has the same {len(list(et.read(folder)))} events: {stored}" in said
    assert [event.payload for event in et.read(stored)] == [event.payload for event in et.read(folder)]
    assert len(scalars(stored)) == 500


def test_answers_and_report_are_those_of_the_two_runs(tmp_path):
    said = run(sys.executable, EXAMPLES / "query_and_report.py", "runs", cwd=tmp_path)
    last = {}
    for name in ("fast", "slow"):
        (folder,) = (tmp_path / "runs").glob(f"*-{name}-*")
        losses = [each["loss"] for each in scalars(folder)]
        assert len(losses) == 50
        assert f"{name}: best loss {min(losses):.6f} at step {losses.index(min(losses))}" in said
        last[name] = losses[-1]
    assert f"fast ends at {last['fast'] - last['slow']:+.6f} of its control" in said
    assert "an Arrow table of 100 rows" in said
    page = (tmp_path / "runs" / "report.html").read_text()
    assert "fast" in page
    assert "slow" in page


def test_a_killed_trainer_goes_on_and_each_step_is_read_once(tmp_path):
    run(sys.executable, EXAMPLES / "resume_after_kill.py", "runs", cwd=tmp_path, status=-9)
    folder = tmp_path / "runs" / "resumed"
    survived = [event.data["step"] for event in et.read(folder, types="scalars.logged")]
    assert survived == list(range(len(survived)))
    assert 100 <= len(survived) <= 131  # all up to the checkpoint, which was flushed; at most all that were emitted
    said = run(sys.executable, EXAMPLES / "resume_after_kill.py", "runs", cwd=tmp_path)
    assert f"killed in step 130; {len(survived)} steps are recorded, the checkpoint is of step 100" in said
    steps = [event.data["step"] for event in et.read(folder, types="scalars.logged", latest=True)]
    assert steps == list(range(200))
    assert f"{len(survived) - 100} of them were done twice" in said


def test_the_list_of_examples_is_complete_and_each_is_short():
    programs = [path for path in EXAMPLES.rglob("*.py") if not path.name.endswith("_pb2.py")]
    listed = set(re.findall(r"\]\((\S+\.py)\)", (EXAMPLES / "README.md").read_text()))
    assert {path.relative_to(EXAMPLES).as_posix() for path in programs} == listed
    for path in programs:
        assert len(path.read_text().splitlines()) < 100, f"{path} is too long for an example"
