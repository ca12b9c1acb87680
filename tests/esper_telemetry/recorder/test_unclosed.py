"""Runs that nobody closed, in real processes."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest

import esper_telemetry as et
from esper_telemetry import events
from esper_telemetry.recorder import unclosed

BEGIN = "import sys, esper_telemetry as et\nrun = et.start_run(sys.argv[1], name='x', run_id='x')\n"


def last(folder) -> dict:
    event = list(et.read(folder))[-1]
    assert event.type == "run.finished"
    return event.data


def ended(tmp_path, program: str, *options: str, given: str | None = None) -> dict:
    path = tmp_path / "program.py"
    path.write_text(program)
    command = [sys.executable, *options, *([str(path)] if given is None else ["-"]), str(tmp_path)]
    subprocess.run(command, input=given, text=True, capture_output=True, check=False)
    return last(tmp_path / "x")


# A test runner or a console keeps an exception that it has caught where the interpreter keeps its last one.
KEPT = "def runner():\n    try: 1 / 0\n    except ZeroDivisionError as error: sys.last_value = error\nrunner()\n"
CAUGHT = "def trial():\n    kept = run\n    raise ValueError('diverged')\ntry: trial()\nexcept ValueError: pass\n"


@pytest.mark.parametrize(
    ("end", "outcome", "error"),
    [
        ("", "abandoned", None),
        ("sys.exit(0)", "abandoned", None),
        ("sys.exit(3)", "abandoned", None),
        (CAUGHT, "abandoned", None),
        ("1 / 0", "failed", "ZeroDivisionError"),
        ("raise KeyboardInterrupt", "interrupted", "KeyboardInterrupt"),
        ("raise ValueError(chr(0xdce9))", "failed", "ValueError"),
        (KEPT, "abandoned", None),
    ],
)
def test_a_run_left_open_says_at_exit_what_is_known(tmp_path, end, outcome, error):
    found = ended(tmp_path, BEGIN + end)
    assert (found["outcome"], found.get("error_type")) == (outcome, error)
    assert found["reason"] == "closed at exit"


def test_an_error_belongs_to_the_runs_that_it_ended_and_not_to_one_left_before(tmp_path):
    program = (
        "import sys, esper_telemetry as et\n"
        "def trial(name, divisor):\n"
        "    run = et.start_run(sys.argv[1], name=name, run_id=name)\n"
        "    1 / divisor\n"
        "trial('first', 1)\n"
        "et.recorder.start.unclosed.close_forgotten = lambda: None\n"
        "trial('x', 0)\n"
    )
    assert ended(tmp_path, program)["outcome"] == "failed"
    assert last(tmp_path / "first")["outcome"] == "abandoned"


def test_an_error_in_a_module_that_was_run_is_seen(tmp_path):
    (tmp_path / "trainer.py").write_text(BEGIN + "1 / 0")
    subprocess.run([sys.executable, "-m", "trainer", tmp_path], cwd=tmp_path, capture_output=True, check=False)
    assert last(tmp_path / "x")["outcome"] == "failed"


@pytest.mark.parametrize("lines", ["1/0\n" + BEGIN, BEGIN + "1/0\n"], ids=["before the run", "after its start"])
def test_an_error_at_a_prompt_ended_nothing(tmp_path, lines):
    found = ended(tmp_path, "", "-i", given=lines.replace("sys.argv[1]", repr(str(tmp_path))))
    assert (found["outcome"], found.get("error_type")) == ("abandoned", None)


def test_every_run_is_closed_at_exit_though_one_cannot_be(tmp_path):
    program = (
        BEGIN + "bad = et.start_run(sys.argv[1], name='bad', run_id='bad')\n"
        "bad._core.plan = None\n"
        "third = et.start_run(sys.argv[1], name='third', run_id='third')\n"
    )
    assert ended(tmp_path, program)["outcome"] == "abandoned"
    assert last(tmp_path / "third")["outcome"] == "abandoned"


def writers() -> int:
    return sum(thread.name == "esper-telemetry-writer" for thread in threading.enumerate())


def test_a_run_that_was_replaced_is_closed_at_the_next_start(tmp_path, caplog):
    before = writers()
    run = None
    for number in range(5):
        run = et.start_run(tmp_path, name="cell", run_id=f"cell{number}")
        run.results["number"] = number
    assert writers() - before == 2
    run.close()
    et.start_run(tmp_path, name="cell", run_id="next").close()
    assert writers() == before
    found = [last(tmp_path / f"cell{number}") for number in range(5)]
    assert [data["outcome"] for data in found] == ["abandoned"] * 4 + ["completed"]
    assert [data["results"]["number"] for data in found] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert found[0]["reason"] == unclosed.FORGOTTEN
    assert "run cell0 was never closed" in caplog.text


def test_a_run_that_somebody_can_still_emit_into_stays_open(tmp_path):
    holders = [
        et.start_run(tmp_path, name="a", run_id="bound").bind(step=1),
        et.start_run(tmp_path, name="a", run_id="method").emit,
    ]
    gc.collect()
    et.start_run(tmp_path, name="a", run_id="next").close()
    holders[0].emit(events.ScalarLogged, name="loss", value=1.0)
    holders[1](events.ScalarLogged, name="loss", value=1.0)
    holders.clear()
    gc.collect()
    et.start_run(tmp_path, name="a", run_id="last").close()
    for name in ("bound", "method"):
        assert [event.type for event in et.read(tmp_path / name)] == ["run.started", "scalar.logged", "run.finished"]


def test_a_body_without_a_name_for_its_run_holds_it(tmp_path):
    with et.start_run(tmp_path, name="a", run_id="unnamed"):
        gc.collect()
        et.start_run(tmp_path, name="a", run_id="next").close()
    assert last(tmp_path / "unnamed")["outcome"] == "completed"


def test_a_run_in_a_cycle_is_closed_after_it_was_collected(tmp_path):
    class Trainer:
        def __init__(self):
            self.run = et.start_run(tmp_path, name="a", run_id="cycle")
            self.me = self

    Trainer()
    gc.collect()
    et.start_run(tmp_path, name="a", run_id="next").close()
    assert last(tmp_path / "cycle")["outcome"] == "abandoned"


def test_two_threads_that_start_runs_close_a_forgotten_one_once(tmp_path):
    et.start_run(tmp_path, name="a", run_id="forgotten")
    threads = [
        threading.Thread(target=lambda n=n: et.start_run(tmp_path, name="a", run_id=f"n{n}").close()) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(et.read(tmp_path / "forgotten", types="run.finished"))) == 1


def test_a_closed_run_is_not_kept(tmp_path):
    before = len(unclosed._open)
    et.start_run(tmp_path, name="a").close()
    assert len(unclosed._open) == before
