"""The forms that records are exported to, and the one function that does it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from esper_telemetry.errors import ConfigError
from esper_telemetry.exports.exportforms import ENDINGS, FORMS, LEVEL, OTHERS

if TYPE_CHECKING:
    import os

    from esper_telemetry.exports.exportreport import ExportReport
    from esper_telemetry.tables.opening import Runs


def export(
    runs: Runs, target: str | os.PathLike[str], to: str = "parquet", *, by: str = "type", level: int = LEVEL
) -> ExportReport:
    """Write runs in another form.

        esper_telemetry.export("runs/*", "data")  # a data set of Parquet files, for any engine

    Args:
        runs: a record file, a run folder, a pattern such as "runs/*", or several of these.
        target: the folder, or a URL that fsspec knows, such as s3://bucket/data.
        to: "parquet" (a data set that grows: a second export adds what is new), "arrow", "csv", "ndjson",
            "tensorboard", "mcap", "perfetto" or "otlp".
        by: how a data set is partitioned: "type", "type,run" or "type,date".
        level: of zstd, of a data set.

    Returns:
        What was written, and what the form does not hold.

    Raises:
        ConfigError: `to` or `by` is unknown, or the data set is partitioned otherwise.
        RecordError: nothing of the runs can be read.
        SchemaError: a field has two types in two records.
        MissingExtraError: a package that the form needs is not installed.
        OSError: the target cannot be written.
    """
    if to == "parquet" or to in ENDINGS:
        import_module("esper_telemetry.tables")  # it names the extra where pyarrow is missing
    if to == "parquet":
        from esper_telemetry.exports.dataset import export_dataset

        return export_dataset(runs, target, by=by, level=level)
    if by != "type":
        raise ConfigError(f"by={by!r} is for a data set of Parquet files; leave it out for {to!r}")
    if to in ENDINGS:
        from esper_telemetry.exports.tablefiles import export_tables

        return export_tables(runs, target, to)
    if to not in OTHERS:
        raise ConfigError(f"to is {to!r}; use one of {', '.join(FORMS)}")
    module, name = OTHERS[to]
    report: ExportReport = getattr(import_module(f"esper_telemetry.exports.{module}"), name)(runs, target)
    return report
