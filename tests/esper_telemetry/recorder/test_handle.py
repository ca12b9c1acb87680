"""Runs that are copied, pickled and loaded again: in their process, in its children, and elsewhere."""

import copy
import io
import logging
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

import esper_telemetry as et
from esper.v1 import seed_pb2
from esper_telemetry import events, testing
from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.handle import Ticket, revived_run
from esper_telemetry.recordfile import RecordReader

loads = pickle.loads  # what these tests have written themselves

LOADS = """
import logging, pickle, sys
import esper_telemetry as et
logging.basicConfig(format="%(message)s", level=logging.WARNING)
def load():
    with open(sys.argv[1], "rb") as file:
        return pickle.load(file)
"""


def loaded_by_another_process(path, code):
    """Run `code` in a child of this process; return what it says in the log and on its output."""
    done = subprocess.run(
        [sys.executable, "-c", LOADS + code, path], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stderr, done.stdout


@pytest.fixture
def run(tmp_path):
    with et.start_run(tmp_path / "runs", name="travels", schemas=[seed_pb2]) as run:
        yield run


@pytest.fixture
def pickled(run, tmp_path):
    """A function that pickles something into a file."""

    def write(value):
        (tmp_path / "pickled").write_bytes(pickle.dumps(value))
        return tmp_path / "pickled"

    return write


def children(run):
    return [list(et.read(path)) for path in run.folder.glob("worker-*")]


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda value: loads(pickle.dumps(value))])
def test_a_copy_in_the_same_process_is_the_run_itself(run, way):
    assert way(run) is run
    bound = run.bind(env_id=np.int64(3), device=torch.device("cpu"))
    for emit in (way(bound).emit, way(bound.emit), way(run.emit)):
        emit(events.ScalarLogged, name="copied", value=1.0)
    run.flush()
    read = [event.data for event in et.read(run.folder, types="scalar.logged")]
    assert [data.get("env_id") for data in read] == [3, 3, None]
    assert [data.get("device") for data in read] == ["cpu", "cpu", None]


def test_a_module_that_holds_a_run_is_copied_saved_and_loaded(run):
    class Model(torch.nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.run, self.emit = run, run.bind(env_id=1).emit

    model = copy.deepcopy(Model())
    assert model.run is run
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "run": run, "emitter": run.bind(env_id=1)}, file)
    file.seek(0)
    checkpoint = torch.load(file, weights_only=False)
    assert checkpoint["run"] is run


def test_a_copy_in_a_forked_child_is_the_run_of_that_child(run, in_child):
    data = pickle.dumps((run, run.bind(env_id=7)))

    def act():
        there, bound = loads(data)
        assert there is run
        bound.emit(events.ScalarLogged, name="child")
        there.close()

    in_child(act)
    ((event, _),) = children(run)
    assert event.data == {"name": "child", "env_id": 7}


def test_a_closed_run_that_is_copied_is_closed(tmp_path):
    with et.start_run(tmp_path, name="x") as run:
        pass
    assert loads(pickle.dumps(run)) is run


def test_a_run_that_is_off_travels_as_one_that_is_off(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("ESPER_TELEMETRY_DISABLED", "1")
    run, bound = loads(pickle.dumps((off := et.start_run(tmp_path, name="x"), off.bind(env_id=1))))
    run.emit(events.ScalarLogged, name="x")
    bound.emit(events.ScalarLogged, name="x")
    assert (run.run_id, run.stats().offered, caplog.records) == ("disabled", 0, [])


def test_an_emitter_whose_context_cannot_be_used_is_copied_with_its_error(run):
    wrong = run.bind(no_such_field=open)
    loads(pickle.dumps(wrong)).emit(events.ScalarLogged, name="x")
    assert run.stats().drops == {("esper_telemetry.v1.ScalarLogged", "invalid"): 1}


def test_a_process_that_is_handed_an_open_run_records_into_a_stream_of_its_own(run, pickled):
    run.set_level("minimal")
    said, printed = loaded_by_another_process(
        pickled((run, run.bind(env_id=3))),
        """
run, bound = load()
again, _ = load()
assert again is run, "a second copy is the same run"
assert run.level == "minimal"
for step in range(100):
    bound.emit(et.events.RunStarted, name="child")
run.emit(et.events.ScalarLogged, name="filtered by the level")
print(run.stats().offered, run.run_id, run.folder)
""",
    )
    assert said == ""
    assert printed.split() == ["100", run.run_id, str(run.folder)]
    ((*body, last),) = children(run)
    assert [(event.data["name"], event.data["env_id"]) for event in body] == [("child", 3)] * 100
    assert (last.type, last.data["reason"], last.data["dropped"]) == ("stream.finished", "exit", 0)
    own, child = sorted(run.folder.iterdir())
    with RecordReader(own) as first, RecordReader(child) as second:
        assert second.header.parent_producer_id == first.header.producer_id
        shared = second.types.keys() & first.types.keys()
        assert {second.types[one] for one in shared} == {first.types[one] for one in shared} > set()


def test_a_strict_run_is_strict_where_it_arrives(tmp_path, pickled):
    with et.start_run(tmp_path, name="x", strict=True) as run:
        said, printed = loaded_by_another_process(
            pickled(run),
            """
try:
    load().emit(et.events.ScalarLogged, wrong=1)
except et.errors.SchemaError:
    print("raised")
""",
        )
    assert (said, printed) == ("", "raised\n")


USED = """
run, bound = load()
for emitter in (run, bound, run.bind(step=1)):
    emitter.emit(et.events.ScalarLogged, name="late")
    emitter.emit(et.events.ScalarLogged(name="late"))
run.set_level("debug")
with run:
    run.results["x"] = 1.0
print(run.flush(), run.stats().offered, run.paths, run.folder, run.wants(et.events.ScalarLogged))
load()
"""


def test_a_run_that_has_ended_is_off_wherever_it_is_loaded_and_says_so_once(tmp_path, pickled):
    with et.start_run(tmp_path, name="x") as run:
        path = pickled((run, run.bind(env_id=1)))
    before = sorted(run.folder.iterdir())
    said, printed = loaded_by_another_process(path, USED)
    assert said.count("\n") == 1
    assert run.run_id in said
    assert "nothing is recorded" in said
    assert printed == "True 0 () None False\n"
    assert sorted(run.folder.iterdir()) == before


STRANGER = """
import pickle, sys
import esper_telemetry as et
with et.start_run(sys.argv[1], name="x") as run:
    with open(sys.argv[2], "wb") as file:
        pickle.dump((run, run.bind(env_id=1)), file)
    print(run.folder, flush=True)
    input()
"""


def test_a_run_of_a_stranger_is_off_though_it_is_open(tmp_path, pickled):
    starter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            STRANGER,
            tmp_path / "theirs",
            tmp_path / "pickled",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    starter.stdout.readline()
    said, printed = loaded_by_another_process(tmp_path / "pickled", USED)
    starter.communicate("\n")
    assert "nothing is recorded" in said
    assert printed.startswith("True 0 ()")


def test_a_checkpoint_of_another_boot_is_off_and_says_so(run, caplog, in_child):
    caplog.set_level(logging.WARNING)
    function, (kind, ticket, run_id) = run.__reduce__()
    foreign = Ticket(**{**fields(ticket), "machine": "another", "token": b"another"})
    assert function(kind, foreign, run_id).stats().offered == 0
    function(kind, foreign, run_id)
    assert len(caplog.records) == 1


def fields(ticket):
    return {name: getattr(ticket, name) for name in ticket.__slots__}


def test_a_run_in_memory_is_off_elsewhere(pickled):
    run, _ = testing.memory_run()
    assert loads(pickle.dumps(run)) is run
    said, _ = loaded_by_another_process(pickled((run, run.bind(env_id=1))), USED)
    assert "a run in memory" in said
    run.close()


def test_a_schema_that_cannot_be_imported_elsewhere_is_left_out(run):
    _, (kind, ticket, run_id) = run.__reduce__()
    ticket = Ticket(
        **{**fields(ticket), "token": b"a copy", "schemas": ("no.such.module:X", "os:nothing", *ticket.schemas)}
    )
    copied = revived_run(kind, ticket, run_id)
    assert copied is not run
    assert len(copied._core.types()) == len(run._core.types())
    copied.close()


def test_strict_errors_of_a_context_are_raised_where_they_are_made(tmp_path):
    with et.start_run(tmp_path, name="x", strict=True) as run, pytest.raises(SchemaError):
        run.bind(no_such_field=1)
