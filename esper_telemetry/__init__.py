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

import os
import time
from _thread import get_ident
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
# Threads that are loading a name. Where one of them is at it while another thread forks, the child inherits a lock of
# the import that nobody in it will release, and its first use of the same name would wait for ever.
_loading: list[int] = []
_LONGEST_LOADING_S = 10.0


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562), so that the import itself stays light."""
    if name in ("errors", "events"):
        return _load(name)
    if name == "__version__":
        return _version()
    if name in _HOMES:
        value = getattr(_load(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its names are {', '.join(__all__)}")


def _load(module: str) -> Any:
    """Import a part of the package; a fork of another thread waits until that is done."""
    me = get_ident()
    _loading.append(me)
    try:
        return import_module(f"{__name__}.{module}")
    finally:
        _loading.remove(me)


def _let_others_load() -> None:
    """Wait, before a fork, for what other threads are loading; not for ever, as they may wait for this one."""
    me, end = get_ident(), time.monotonic() + _LONGEST_LOADING_S
    while any(thread != me for thread in list(_loading)) and time.monotonic() < end:
        time.sleep(0.001)


def _forget_other_threads() -> None:
    me = get_ident()
    _loading[:] = [thread for thread in _loading if thread == me]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_let_others_load, after_in_child=_forget_other_threads)


def _version() -> str:
    """Return the version that is installed; "unknown" for a checkout that was never installed."""
    from importlib import metadata  # it takes longer to import than the rest of this module

    try:
        return metadata.version("esper-telemetry")
    except metadata.PackageNotFoundError:
        return "unknown"


def __dir__() -> list[str]:
    return list(__all__)
