"""What an environment is tried with: a record is written and read, then whatever its extras promise.

    python tools/install_probe.py FOLDER ["import MODULE"...] [TRIAL...]

tools/install_matrix.py runs it in each environment; it needs nothing but an installed esper-telemetry. It prints
the trials that passed, and raises at the first that fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import esper_telemetry as et

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = 100
ROWS = 16
LOAD = "import "


class ProbeError(Exception):
    """Something is not as it has to be."""


def expect(what: str, found: object, wanted: object) -> None:
    """Raise ProbeError unless what was found is what has to be."""
    if found != wanted:
        raise ProbeError(f"{what}: {found!r}, and not {wanted!r}")


def recorded(folder: Path, **options: Any) -> Path:
    """Record EVENTS scalars below `folder`, and return the folder of the run."""
    with et.start_run(folder, name="probe", strict=True, **options) as run:
        for step in range(EVENTS):
            run.emit(et.events.ScalarLogged, name="loss", value=1 / (step + 1), step=step)
    folder = Path(run.folder or "")
    expect("scalars in the record", counted(folder), EVENTS)
    return folder


def counted(folder: Path) -> int:
    """Return how many scalars a run or a folder of segments holds; none where it has only just begun."""
    try:
        return sum(1 for _ in et.read(folder, types="scalar.logged"))
    except et.errors.RecordError:
        return 0


def cli(folder: Path) -> None:
    """Ask the command that the environment installed."""
    command = Path(sys.executable).with_name("esper-telemetry")
    said = subprocess.run([command, "info", recorded(folder)], capture_output=True, text=True, check=True)
    expect("info names the type", "scalar.logged" in said.stdout, wanted=True)


def collector(folder: Path) -> None:
    """Send a run to a collector of this process, health service and reflection included."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from esper_telemetry.testing import running_collector

    stored = folder / "collected"
    folder.mkdir(exist_ok=True)
    with running_collector(stored) as address:
        with grpc.insecure_channel(address) as channel:
            asked: Any = health_pb2_grpc.HealthStub(channel)
            answer = asked.Check(health_pb2.HealthCheckRequest(), timeout=30)
        expect("health", answer.status, health_pb2.HealthCheckResponse.SERVING)
        run = recorded(folder, collector=address)
        deadline = time.monotonic() + 60
        while counted(stored / run.name) < EVENTS:
            expect(f"{stored} lacks events of {run.name} after a minute", time.monotonic() > deadline, wanted=False)
            time.sleep(0.2)


def query(folder: Path) -> None:
    """Ask by SQL, and write a data set."""
    run = recorded(folder)
    answer = et.query("SELECT count(*) AS n FROM scalar.logged", run).to_pylist()
    expect("answer", answer, [{"n": EVENTS}])
    et.export(run, folder / "data")


def torch(folder: Path) -> None:
    """Count actions of a policy, and emit what was counted."""
    import torch as library

    from esper_telemetry.counters import CounterSpec, DeviceCounters, emit_snapshot

    counters = DeviceCounters(CounterSpec(heads={"op": ("wait", "go")}), device="cpu")
    with et.start_run(folder, name="counted", strict=True) as run:
        counters.record_step({"op": library.ones(ROWS, dtype=library.int64)}, None)
        counters.flush(batch_idx=1)
        for snapshot in counters.close():
            emit_snapshot(run, snapshot, episodes_completed=ROWS)
    (found,) = et.read(run.folder, types="policy.action_distribution")
    expect("actions", found.data["action_counts"], {"wait": 0, "go": ROWS})


def imported(*modules: str) -> Callable[[Path], None]:
    """Return a trial that imports modules: those of the SDK that need the extra."""

    def trial(_: Path) -> None:
        for module in modules:
            import_module(module)

    return trial


def adapter(module: str, name: str) -> Callable[[Path], None]:
    """Return a trial that asks an adapter for its class, which imports the framework."""

    def trial(_: Path) -> None:
        getattr(import_module(f"esper_telemetry.integrations.{module}"), name)

    return trial


def exported(to: str) -> Callable[[Path], None]:
    """Return a trial that exports a run in the form `to`."""

    def trial(folder: Path) -> None:
        et.export(recorded(folder), folder / to, to=to)
        expect("something was written", any((folder / to).rglob("*")), wanted=True)

    return trial


def mirrored(name: str) -> Callable[[Path], None]:
    """Return a trial that mirrors a run into a dashboard, without a network."""

    def trial(folder: Path) -> None:
        os.environ |= {"WANDB_MODE": "offline", "WANDB_DIR": str(folder), "WANDB_SILENT": "true"}
        recorded(folder, mirrors=[name], record=et.RecordOptions(close_timeout=120))

    return trial


TRIALS: dict[str, Callable[[Path], None]] = {
    "cli": cli,
    "collector": collector,
    "query": query,
    "torch": torch,
    "trainer": imported("sklearn.datasets"),
    "s3": imported("obstore.store", "fsspec", "esper_telemetry.storage.object_archive"),
    "gymnasium": adapter("gymnasium", "RecordRun"),
    "hf": adapter("hf", "EsperTrainerCallback"),
    "lightning": adapter("lightning", "EsperLogger"),
    "sb3": adapter("sb3", "EsperCallback"),
    "torchrl": adapter("torchrl", "EsperRLLogger"),
    "ui": imported("esper_telemetry.ui.app", "esper_telemetry.terminal", "bokeh", "uvicorn", "textual.app"),
    "nats": imported("nats.aio.client", "nkeys", "esper_telemetry.jetstream.connection"),
    "mcap": exported("mcap"),
    "mcp": imported("mcp", "esper_telemetry.agents.toolserver"),
    "otlp": exported("otlp"),
    "perfetto": exported("perfetto"),
    "tensorboard": mirrored("tensorboard"),
    "wandb": mirrored("wandb"),
}


def main() -> None:
    """Try what the command line names."""
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    for name in names:
        if name.startswith(LOAD):  # a neighbour, whose generated code is registered before ours
            import_module(name.removeprefix(LOAD))
    recorded(folder / "record")
    for name in names:
        if not name.startswith(LOAD):
            TRIALS[name](folder / name)
    print("passed:", ", ".join(["record", *names]))


if __name__ == "__main__":
    main()
