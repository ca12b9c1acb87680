"""Typed telemetry for reinforcement learning and PyTorch training.

    import esper_telemetry as et

    with et.start_run("runs", name="first") as run:
        run.emit(et.events.ScalarLogged, name="loss", value=0.25, step=1)

    for event in et.read(run.folder):
        print(event.type, event.data)

Importing this package imports neither torch nor grpc; each name below is loaded when
it is first used. Counters on a device are in `esper_telemetry.counters`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esper_telemetry import errors, events
    from esper_telemetry.decode import read
    from esper_telemetry.errors import TelemetryError
    from esper_telemetry.exports import export
    from esper_telemetry.recorder import Emitter, RecordOptions, Run, RunStats, StreamOptions, start_run
    from esper_telemetry.report import plot
    from esper_telemetry.schema import proto_include
    from esper_telemetry.tables import query, scan, table, tables

    __version__: str

__all__ = [
    "Emitter",
    "RecordOptions",
    "Run",
    "RunStats",
    "StreamOptions",
    "TelemetryError",
    "__version__",
    "errors",
    "events",
    "export",
    "plot",
    "proto_include",
    "query",
    "read",
    "scan",
    "start_run",
    "table",
    "tables",
]

_HOMES = {
    "Emitter": "recorder",
    "RecordOptions": "recorder",
    "Run": "recorder",
    "RunStats": "recorder",
    "StreamOptions": "recorder",
    "TelemetryError": "errors",
    "export": "exports",
    "plot": "report",
    "proto_include": "schema",
    "query": "tables",
    "read": "decode",
    "scan": "tables",
    "start_run": "recorder",
    "table": "tables",
    "tables": "tables",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562), so that the import itself stays light."""
    if name in ("errors", "events"):
        return import_module(f"{__name__}.{name}")
    if name == "__version__":
        return _version()
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its names are {', '.join(__all__)}")


def _version() -> str:
    """Return the version that is installed; "unknown" for a checkout that was never installed."""
    from importlib import metadata  # it takes longer to import than the rest of this module

    try:
        return metadata.version("esper-telemetry")
    except metadata.PackageNotFoundError:
        return "unknown"


def __dir__() -> list[str]:
    return list(__all__)
