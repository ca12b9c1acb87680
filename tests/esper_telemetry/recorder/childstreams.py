"""What the tests of forked children do in them, and read of them."""

import esper_telemetry as et
from esper_telemetry import events


def streams(run):
    """Return the events of each stream in a run's folder as (type, data), the run's own first."""
    paths = sorted(run.folder.glob("*.esr.zst"), key=lambda path: not path.name.startswith("main"))
    return [[(event.type, event.data) for event in et.read(path)] for path in paths]


def steps(stream, name):
    """Return the steps of the scalars of a name in a stream."""
    return [data["step"] for _, data in stream if data.get("name") == name]


def work(run, number):
    """Emit 200 scalars, as a worker might."""
    for step in range(200):
        run.emit(events.ScalarLogged, name=f"worker {number}", step=step)
