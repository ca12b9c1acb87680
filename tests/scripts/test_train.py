"""The command line, called as a person calls it; the first test is the plan's, word for word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import esper_telemetry
from esper.scripts.train import build_parser, main
from esper_telemetry.errors import TelemetryError
from tests.esper_telemetry.collectorprocess import CollectorProcess, wait_until

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300  # seconds; PyTorch alone takes ten to load on a busy machine
HEURISTIC, PPO = ["heuristic", "--episodes", "50"], ["ppo", "--batches", "500"]


def test_telemetry_lifecycle_only_flag_wired(monkeypatch):
    import esper.scripts.train as train  # noqa: PLR0402 - word for word

    parser = train.build_parser()  # or however parser is built
    args = parser.parse_args(["heuristic", "--telemetry-lifecycle-only"])
    assert args.telemetry_lifecycle_only is True


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def types(folder):
    (run,) = Path(folder).iterdir()
    return [event.type for event in esper_telemetry.read(run)]


def has_begun(folder):
    """Tell whether the run in a folder has recorded an epoch."""
    try:
        return "epoch.completed" in types(folder)
    except (ValueError, TelemetryError):  # no run yet, or nothing in its file
        return False


# A background job of a shell is started with SIGINT ignored, and so are the tests in it.
INTERRUPTIBLE = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
TRAIN = INTERRUPTIBLE + "runpy.run_module('esper.scripts.train', run_name='__main__', alter_sys=True)"


def command(*arguments, loop=("heuristic",), **options):
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, *loop, *arguments],
        cwd=ROOT,
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def test_defaults_are_those_of_the_documents():
    args = build_parser().parse_args(["heuristic"])
    assert (args.task, args.counterfactual, args.telemetry_level) == ("digits", "every", "normal")
    assert (args.telemetry_lifecycle_only, args.device) == (False, "cpu")


def test_the_plans_last_command_works_on_digits(tmp_path, capsys):
    arguments = ["heuristic", "--task", "digits", "--episodes", "1"]
    flags = ["--telemetry-level", "normal", "--telemetry-lifecycle-only", "--telemetry-dir", str(tmp_path)]
    assert main([*arguments, *flags]) == 0
    assert {"seed.germinated", "seed.gate_evaluated", "policy.action_taken"} <= set(types(tmp_path))
    assert capsys.readouterr().err == ""


def test_off_with_the_flag_records_seeds_and_off_without_it_nothing(tmp_path):
    short = ["heuristic", "--task", "synthetic", "--episodes", "1", "--max-epochs", "30", "--telemetry-level", "off"]
    assert main([*short, "--telemetry-dir", str(tmp_path / "quiet")]) == 0
    assert types(tmp_path / "quiet") == ["run.started", "telemetry.disabled", "run.finished"]
    assert main([*short, "--telemetry-lifecycle-only", "--telemetry-dir", str(tmp_path / "seeds")]) == 0
    assert {"telemetry.disabled", "seed.germinated", "seed.stage_changed"} <= set(types(tmp_path / "seeds"))


def test_it_ends_with_a_summary_and_a_command_that_can_be_typed(tmp_path, capsys):
    arguments = ["heuristic", "--task", "synthetic", "--episodes", "1", "--max-epochs", "30", "--control"]
    assert main([*arguments, "--telemetry-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    (run,) = tmp_path.iterdir()
    (record,) = run.iterdir()
    assert f"record: {record}" in out
    assert f"{record.stat().st_size:,} bytes" in out
    assert "0 lost" in out
    assert "without growth" in out
    assert "30  epoch.completed" in out
    assert out.splitlines()[-1].startswith("next: ")
    assert out.splitlines()[-1].endswith(f"esper-telemetry info {run}")


def test_the_control_is_no_part_of_the_record(tmp_path):
    arguments = ["heuristic", "--task", "synthetic", "--episodes", "1", "--max-epochs", "3"]
    assert main([*arguments, "--control", "--telemetry-dir", str(tmp_path)]) == 0
    assert types(tmp_path).count("epoch.completed") == 3


def test_a_control_that_is_recorded_names_the_run_it_is_the_control_of(tmp_path):
    arguments = ["heuristic", "--task", "synthetic", "--episodes", "1", "--max-epochs", "1", "--no-growth"]
    assert main([*arguments, "--control-of", "exp-7", "--telemetry-dir", str(tmp_path)]) == 0
    (run,) = tmp_path.iterdir()
    assert next(iter(esper_telemetry.read(run))).data["control_of"] == "exp-7"


def test_a_run_without_growth_says_so_in_its_name(tmp_path):
    arguments = ["heuristic", "--task", "synthetic", "--episodes", "1", "--max-epochs", "3", "--no-growth"]
    assert main([*arguments, "--telemetry-dir", str(tmp_path)]) == 0
    (run,) = tmp_path.iterdir()
    assert next(iter(esper_telemetry.read(run))).data["name"] == "synthetic-no-growth"


def test_with_telemetry_disabled_by_the_environment_it_trains_and_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ESPER_TELEMETRY_DISABLED", "1")
    arguments = ["heuristic", "--task", "synthetic", "--episodes", "1", "--max-epochs", "3"]
    assert main([*arguments, "--telemetry-dir", str(tmp_path / "runs")]) == 0
    assert "record: none" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task", "mnist"], "'mnist'"),
        (["--episodes", "0"], "'0'"),
        (["--episodes", "two"], "'two'"),
        (["--max-epochs", "-3"], "'-3'"),
        (["--max-epochs", "1.5"], "'1.5'"),
        (["--seed", "-1"], "'-1'"),
        (["--device", "warp:9"], "'warp:9'"),
        (["--device", "cpu,cuda:0"], "write several apart, cpu cuda:0"),
        (["--telemetry-level", "loud"], "'loud'"),
        (["--counterfactual", "sometimes"], "'sometimes'"),
        (["--no-growth", "--control"], "--no-growth"),
        (["--epochs", "3"], "--epochs"),
    ],
)
def test_a_mistake_is_one_line_exit_code_2_and_nothing_written(arguments, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["heuristic", "--telemetry-dir", str(tmp_path / "runs"), *arguments])
    out, err = capsys.readouterr()
    assert stopped.value.code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert said in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA: cuda:0 is no mistake here")
def test_cuda_where_there_is_none_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["heuristic", "--device", "cuda:0", "--telemetry-dir", str(tmp_path / "runs")])
    err = capsys.readouterr().err
    assert stopped.value.code == 2
    assert err.count("\n") == 1
    assert "'cuda:0'" in err
    assert "cpu" in err
    assert not (tmp_path / "runs").exists()


def test_a_record_that_cannot_be_written_is_one_line_and_exit_code_2(tmp_path, capsys):
    occupied = tmp_path / "file"
    occupied.write_text("")
    assert main(["heuristic", "--task", "synthetic", "--telemetry-dir", str(occupied)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert str(occupied) in err


@pytest.mark.parametrize(
    ("loop", "sent"),
    [
        pytest.param(HEURISTIC, signal.SIGTERM, id="heuristic-SIGTERM"),
        pytest.param(PPO, signal.SIGINT, id="ppo-SIGINT"),
        pytest.param(HEURISTIC, signal.SIGINT, id="heuristic-SIGINT", marks=pytest.mark.slow),
        pytest.param(PPO, signal.SIGTERM, id="ppo-SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_ended_early_leaves_a_readable_record_and_says_where(tmp_path, loop, sent):
    process = command("--task", "synthetic", "--telemetry-dir", str(tmp_path), loop=loop)
    try:
        wait_until(lambda: has_begun(tmp_path), PATIENCE)
        process.send_signal(sent)
        _, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    # A shell shows SIGINT as 130. CPython ends itself by the signal if the interrupt passed through an exec() of
    # source text (such as a lazy import of torch that makes a namedtuple), although it was handled since.
    assert process.returncode in {128 + sent, -signal.SIGINT}, err
    (run,) = tmp_path.iterdir()
    assert f"info {run}\n" in err
    assert ("interrupted" in err) is (sent == signal.SIGINT)
    assert "Traceback" not in err
    last = list(esper_telemetry.read(run))[-1]
    assert (last.type, last.data["outcome"]) == ("run.finished", "interrupted")


def test_progress_is_shown_on_a_terminal_and_nowhere_else(tmp_path):
    arguments = ["--task", "synthetic", "--episodes", "1", "--max-epochs", "3"]
    process = command(*arguments, "--telemetry-dir", str(tmp_path / "piped"))
    _, piped = process.communicate(timeout=PATIENCE)
    assert piped == ""

    pty = pytest.importorskip("pty", reason="terminals of this kind exist on Unix only")
    ours, theirs = pty.openpty()
    process = command(*arguments, "--telemetry-dir", str(tmp_path / "shown"), stderr=theirs)
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while chunk := terminal.read(4096):
                shown += chunk
        except OSError:  # Linux reports the other end's closing as an error
            pass
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert b"episode 1/1  epoch 3/3" in shown


def test_a_run_is_sent_to_a_collector_and_verify_and_diff_find_nothing(tmp_path):
    collector = CollectorProcess(tmp_path / "collected").start()
    sent = ["--telemetry-dir", str(tmp_path / "runs"), "--collector", collector.address]
    try:
        with command("--task", "synthetic", "--episodes", "1", "--max-epochs", "3", *sent) as run:
            _, err = run.communicate()
        assert run.returncode == 0, err
        (folder,) = (tmp_path / "runs").iterdir()
        wait_until(lambda: "complete" in (folder / "agent.log").read_text())
        collector.stop()
    finally:
        collector.kill()
    stored = collector.folder / folder.name
    for verb in (["verify", stored], ["diff", "--exact", folder, stored]):
        said = subprocess.run([sys.executable, "-m", "esper_telemetry", *verb], capture_output=True, check=False)
        assert said.returncode == 0, (verb, said.stdout, said.stderr)
    collected = esper_telemetry.read(collector.folder / folder.name)
    assert [event.type for event in collected] == types(tmp_path / "runs")


def test_a_collector_that_is_none_is_a_mistake(tmp_path, capsys):
    arguments = ["heuristic", "--task", "synthetic", "--telemetry-dir", str(tmp_path / "runs")]
    assert main([*arguments, "--collector", "nowhere"]) == 2
    assert "host:port" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
