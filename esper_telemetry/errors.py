"""Every error the SDK raises, as one small tree; this module imports nothing.

    TelemetryError
    ├── SchemaError         an event, field or context is not what its schema states: fix the call
    ├── ConfigError         an option or environment variable is wrong: fix the setting
    ├── MissingExtraError   an optional package is not installed: the message names the pip install that provides it
    ├── SinkError           the place events are written to failed: fix the disk or the path
    ├── QueryError          a query cannot be answered: fix the statement
    ├── CounterError        a counter bank was used against its contract: fix the call
    └── RecordError         a record cannot be read as asked; it carries path and offset
        ├── NotARecordError     the bytes are something else
        ├── CorruptRecordError  the bytes were a record once: run recover
        └── UnsupportedRecordError  a newer format, or a size over a limit

None of them leaves `Run.emit`: there they are counted, and reported once (unless `strict=True`).
"""

from __future__ import annotations


class TelemetryError(Exception):
    """Base of all errors of the SDK."""


class SchemaError(TelemetryError):
    """An event, a field or a context does not match its schema.

    Attributes:
        about: what offended, without its value: errors about the same thing are one mistake, and are reported once.
    """

    def __init__(self, message: str, *, about: str = "") -> None:
        super().__init__(message)
        self.about = about or message


class ConfigError(TelemetryError):
    """An option or an environment variable has a value that cannot be used."""


class MissingExtraError(TelemetryError):
    """A package of an optional extra is not installed."""

    def __init__(self, need: str, extra: str) -> None:
        super().__init__(need, extra)  # as given, so that the error can be pickled
        self._reported = f"{need} is not installed; get it with: pip install 'esper-telemetry[{extra}]'"

    def __str__(self) -> str:
        return self._reported


class SinkError(TelemetryError):
    """The place that events are written to failed."""


class CounterError(TelemetryError):
    """A counter bank was used against its contract."""


class QueryError(TelemetryError):
    """A statement of SQL is wrong, or would do more than read."""


class RecordError(TelemetryError):
    """A record cannot be read as asked.

    Attributes:
        path: the file, as text; empty where there is none.
        offset: byte at which the damage begins, or None where it has no place.
        reason: what is wrong in the fewest words, for callers that add place and next step themselves.
    """

    def __init__(self, message: str, *, path: str = "", offset: int | None = None, reason: str = "") -> None:
        where = path + (f" at byte {offset:,}" if offset is not None else "")
        super().__init__(f"{where}: {message}" if where else message)
        self.path = path
        self.offset = offset
        self.reason = reason or message


class NotARecordError(RecordError):
    """The bytes are not those of a record file."""


class CorruptRecordError(RecordError):
    """The bytes were a record file once and are damaged."""


class UnsupportedRecordError(RecordError):
    """A newer format, or a size over a limit of the format."""
