"""HAND it on: records in the form of another ecosystem, each read back by that ecosystem's own reader in a test.

Records are read, never changed, and what a form cannot hold is stated field by field.
"""

from esper_telemetry.exports.dataset import ExportReport, export_dataset

__all__ = ["ExportReport", "export_dataset"]
