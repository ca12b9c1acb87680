"""HAND it on: records in the form of another ecosystem, each read back by that ecosystem's own reader in a test.

Records are read, never changed, and what a form cannot hold is stated field by field. Tables (Parquet, Arrow, CSV, JSON
lines) need the extra `query`; each other form needs its own extra alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from esper_telemetry.exports.exportforms import FORMS, PARTITIONS
from esper_telemetry.exports.exporting import export
from esper_telemetry.exports.exportreport import ExportReport
from esper_telemetry.exports.importing import IMPORTS, ImportReport, import_runs

if TYPE_CHECKING:
    from esper_telemetry.exports.dataset import export_dataset

__all__ = [
    "FORMS",
    "IMPORTS",
    "PARTITIONS",
    "ExportReport",
    "ImportReport",
    "export",
    "export_dataset",
    "import_runs",
]


def __getattr__(name: str) -> Any:
    """Load what needs pyarrow on first use (PEP 562)."""
    if name != "export_dataset":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module("esper_telemetry.tables")  # it names the extra where pyarrow is missing
    return import_module(f"{__name__}.dataset").export_dataset
