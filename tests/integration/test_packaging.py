"""The wheel as a stranger gets it: what is in it, what it pulls, and that it works on the oldest packages it accepts.

One wheel is built and installed once, into an environment of its own that has neither
torch nor numpy nor click.
"""

from __future__ import annotations

import email
import json
import os
import re
import subprocess
import sys
import textwrap
import venv
import zipfile
from pathlib import Path

import pytest

from tools.gen_proto import generator_path

ROOT = Path(__file__).resolve().parents[2]
BEAM = """\
syntax = "proto3";

package acme.v1;

import "esper_telemetry/v1/options.proto";

// A beam search ended.
message BeamSearched {
  option (esper_telemetry.v1.event) = {
    name: "beam.searched"
    level: LEVEL_NORMAL
  };

  // Hypotheses that were kept.
  optional uint32 width = 1 [(esper_telemetry.v1.meta) = {unit: "{hypothesis}"}];
  // Wall time of the search.
  optional double search_time_ms = 2 [(esper_telemetry.v1.meta) = {unit: "ms"}];
}
"""


def run(*command: object, cwd: Path, **env: str) -> str:
    environment = {**os.environ, "PYTHONPATH": "", **env}
    finished = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout}{finished.stderr}"
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", out, ROOT, cwd=ROOT)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def base_requirements(metadata):
    return [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]


@pytest.fixture(scope="module")
def python(wheel, base_requirements, tmp_path_factory):
    """Return the interpreter of an environment with the wheel and the oldest packages that its metadata accepts."""
    home = tmp_path_factory.mktemp("stranger")
    venv.create(home, with_pip=True)
    oldest = [re.sub(r"^([\w-]+).*?>=([\d.]+).*$", r"\1==\2", line) for line in base_requirements]
    interpreter = home / "bin" / "python"
    run(interpreter, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel, *oldest, cwd=home)
    return interpreter


@pytest.fixture(scope="module")
def acme(python, tmp_path_factory):
    """Return a folder in which a stranger has compiled a schema of their own against the installed package."""
    folder = tmp_path_factory.mktemp("acme")
    proto = folder / "acme" / "v1" / "beam.proto"
    proto.parent.mkdir(parents=True)
    proto.write_text(BEAM)
    include = run(python, "-m", "esper_telemetry.schema", cwd=folder).strip()
    tools = generator_path(ROOT / ".protoc")
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{include}", f"-I{tools / 'grpc_tools' / '_proto'}", "-I."]
    comments = ["--include_source_info", "--descriptor_set_out=acme/v1/schema.binpb"]
    run(*protoc, "--python_out=.", *comments, "acme/v1/beam.proto", cwd=folder, PYTHONPATH=str(tools))
    return folder


def test_the_wheel_holds_the_sdk_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"esper_telemetry"}
    assert len(tops) == 2


def test_the_wheel_holds_what_typing_readers_and_strangers_need(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        protos = {name: archive.read(name) for name in names if name.endswith(".proto")}
    assert {"esper_telemetry/py.typed", "esper_telemetry/v1/schema.binpb"} <= names
    for path in (ROOT / "esper_telemetry").rglob("*.py"):
        assert path.relative_to(ROOT).as_posix() in names
    for path in (ROOT / "esper_telemetry/v1").glob("*_pb2.py"):
        assert f"esper_telemetry/v1/{path.stem}.pyi" in names
    assert protos == {
        f"esper_telemetry/proto/{path.relative_to(ROOT / 'proto').as_posix()}": path.read_bytes()
        for path in (ROOT / "proto/esper_telemetry").rglob("*.proto")
    }
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_pulls_three_packages(base_requirements):
    assert {re.match(r"[\w-]+", line)[0] for line in base_requirements} == {"protobuf", "grpcio", "zstandard"}


def test_the_metadata_says_what_it_needs_and_offers(metadata):
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert {"torch", "trainer", "cli", "collector", "dev"} <= set(metadata.get_all("Provides-Extra"))


def test_events_are_recorded_and_read_without_torch_numpy_or_click(python, tmp_path):
    code = """
        import importlib.util, json, sys
        import esper_telemetry as et
        with et.start_run(sys.argv[1], name="stranger") as run:
            run.emit(et.events.MaskHitRates, batches=1)
            run.bind(batch_idx=1, episodes_completed=4).emit(
                et.events.MaskHitRates, mask_hits={"op": 3}, mask_total={"op": 4}
            )
        print(json.dumps({
            "foreign": [name for name in ("torch", "numpy", "click", "esper") if importlib.util.find_spec(name)],
            "events": [[event.type, event.data] for event in et.read(run.folder)],
            "grpc": "grpc" in sys.modules,
        }))
    """
    said = json.loads(run(python, "-c", textwrap.dedent(code), tmp_path, cwd=tmp_path).splitlines()[-1])
    assert said["foreign"] == []
    assert said["grpc"] is False
    kept = [data for name, data in said["events"] if name == "policy.mask_hit_rates"]
    assert kept == [{"mask_hits": {"op": 3}, "mask_total": {"op": 4}, "batch_idx": 1, "episodes_completed": 4}]
    # The first event lacked its context: it is counted, not recorded.
    name, last = said["events"][-1]
    assert (name, last["dropped"]) == ("run.finished", 1)
    assert last["drops"] == [{"full_name": "esper_telemetry.v1.MaskHitRates", "cause": "invalid", "count": 1}]


@pytest.fixture(scope="module")
def answers(python):
    """Return what each kind of field answers to each kind of value, by protobuf and its implementation."""
    found = {}
    for version, interpreter in (("oldest", python), ("newest", sys.executable)):
        for backend in ("upb", "python"):
            program = ROOT / "tests/integration/every_answer.py"
            said = run(interpreter, program, cwd=ROOT, PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION=backend)
            found[version, backend] = json.loads(said)
    return found


@pytest.mark.slow
def test_a_call_is_accepted_or_refused_alike_on_every_protobuf_of_the_range(answers):
    first = answers["newest", "upb"]
    assert len(first) > 2000
    for where, others in answers.items():
        assert {call: answer for call, answer in others.items() if answer != first[call]} == {}, where


@pytest.mark.slow
def test_a_later_call_is_answered_as_the_first_one_was(answers):
    for where, found in answers.items():
        assert {call: both for call, both in found.items() if both[0] != both[1]} == {}, where


def test_an_export_without_its_extra_names_the_install_and_only_tables_need_arrow(python, tmp_path):
    code = """
        import sys
        import esper_telemetry as et
        with et.start_run(sys.argv[1], name="stranger") as run:
            run.log({"loss": 0.5}, step=1)
        for form in ("parquet", "arrow", "csv", "ndjson", "perfetto", "mcap", "otlp", "tensorboard"):
            try:
                et.export(run.folder, f"{sys.argv[1]}/{form}", to=form)
            except et.errors.MissingExtraError as error:
                print(form, str(error).partition("pip install ")[2])
    """
    said = run(python, "-c", textwrap.dedent(code), tmp_path, cwd=tmp_path).splitlines()
    needed = dict(line.split() for line in said)
    tables = dict.fromkeys(["parquet", "arrow", "csv", "ndjson"], "'esper-telemetry[query]'")
    others = {form: f"'esper-telemetry[{form}]'" for form in ("perfetto", "mcap", "otlp", "tensorboard")}
    assert needed == tables | others


def test_the_command_without_its_extra_says_which_install_mends_it(python, tmp_path):
    command = python.with_name("esper-telemetry")
    finished = subprocess.run([command, "info", "x"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "pip install 'esper-telemetry[cli]'" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_strangers_event_is_emitted_and_read_with_units_by_a_reader_without_its_code(python, acme, tmp_path):
    emit = """
        import sys
        import esper_telemetry as et
        from acme.v1 import beam_pb2
        with et.start_run(sys.argv[1], name="acme", schemas=[beam_pb2]) as run:
            run.emit(beam_pb2.BeamSearched, width=4, search_time_ms=0.0)
    """
    run(python, "-c", textwrap.dedent(emit), tmp_path, cwd=acme)
    read = """
        import importlib.util, json, sys
        import esper_telemetry as et
        assert importlib.util.find_spec("acme") is None
        for event in et.read(sys.argv[1] + "/*-acme-*"):
            if event.type == "beam.searched":
                print(json.dumps([event.data, event.units]))
    """
    data, units = json.loads(run(python, "-c", textwrap.dedent(read), tmp_path, cwd=tmp_path))
    assert data == {"width": 4, "search_time_ms": 0.0}
    assert units == {"width": "{hypothesis}", "search_time_ms": "ms"}
