"""The log of a long-running process: one line a fact, as text or as JSON, on stderr.

A message is a sentence with its values. What programs want to filter by is given beside it, as `extra`, and becomes a
member of the JSON object: `LOG.info("run %s: deleted", run_id, extra={"run_id": run_id})`. A traceback is a member of
its own, or the end of the line. Nothing here rotates or ships a log: what starts services does.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

FORMS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")

# What every record has; all else was given as `extra`.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def start_logging(form: str, level: str, stream: TextIO | None = None) -> None:
    """Have all of this process's log lines written in one form; also what `warnings` warns of.

    Args:
        form: one of FORMS.
        level: one of LEVELS; what is below it is left out. Libraries' own debug lines are left out always.
        stream: where to; stderr if None.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(
        level=max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]), handlers=[handler], force=True
    )
    logging.getLogger("esper_telemetry").setLevel(level.upper())
    logging.captureWarnings(capture=True)


class TextLines(logging.Formatter):
    """`2026-11-29T08:00:00.125Z INFO run a: deleted`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        text = f"{_time(record)} {record.levelname} {record.getMessage()}"
        trace = _trace(record, self)
        return _one_line(f"{text}: {trace}" if trace else text)


class JsonLines(logging.Formatter):
    """`{"time": ..., "level": "info", "logger": ..., "message": ..., ...}`: what was given as `extra` comes last."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        said: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace = _trace(record, self)
        if trace:
            said["trace"] = trace
        said |= {name: value for name, value in vars(record).items() if name not in _USUAL and name not in said}
        return json.dumps(said, ensure_ascii=True, default=str)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trace(record: logging.LogRecord, formatter: logging.Formatter) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return formatter.formatException(record.exc_info)


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
