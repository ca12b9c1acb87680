"""HAND it on: records in the form of another ecosystem, each read back by that ecosystem's own reader in a test.

Records are read, never changed, and what a form cannot hold is stated field by field.
"""

from esper_telemetry.exports.dataset import PARTITIONS, export_dataset
from esper_telemetry.exports.exporting import FORMS, export
from esper_telemetry.exports.exportreport import ExportReport
from esper_telemetry.exports.importing import IMPORTS, ImportReport, import_runs

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
