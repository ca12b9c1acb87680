"""Options of a run, and the few environment variables, checked where they are given."""

from __future__ import annotations

import numbers
import os
import threading
from dataclasses import dataclass
from typing import Any, Literal

from esper_telemetry.errors import ConfigError
from esper_telemetry.wire import Credentials

DISABLED_VARIABLE = "ESPER_TELEMETRY_DISABLED"
RUN_ID_VARIABLE = "ESPER_TELEMETRY_RUN_ID"

# More seconds cannot be waited, and no more bytes be had.
_LARGEST = threading.TIMEOUT_MAX

SyncPolicy = Literal["none", "close", "interval", "every"]
ErrorPolicy = Literal["warn", "raise"]
ChildPolicy = Literal["record", "count"]


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """How the local record is written.

    Attributes:
        flush_interval: seconds after which a pending event is handed to the operating
            system: what a SIGKILL can cost at most.
        sync: when data is forced to the disk (what a power cut can cost): "none", "close",
            "interval" (every flush_interval) or "every" (each frame).
        on_error: "warn" keeps training whatever the disk does; "raise" raises SinkError
            from the next emit, flush or close.
        frame_bytes: bytes before compression at which a frame is cut.
        buffer_bytes: memory that events take which wait for the disk (some 600 bytes for one of ten numbers); beyond it
            they are shed by class.
        reserve_bytes: room on top of it for events that are never shed.
        close_timeout: seconds that close() waits for a slow or failing disk.
        segment_bytes: size at which a segment is closed and the next one opened.
        segment_seconds: age at which that happens.
        keep_bytes: what the closed segments and the open one of this process may take together: when a segment is
            closed, the oldest closed ones beyond it are deleted, with RunStarted in the first, sent on or not.
            None keeps all.
        system_interval: seconds between two SystemSampled events, from a thread of their own that each costs some
            0.1 ms; None: none.
        children: what becomes of events that child processes emit (forked after start_run, or handed the run):
            "record" writes each child's into a stream of its own, at most 64 for each process that started a run,
            of one segment, which keep_bytes does not touch; "count" only counts them. What is counted is in the
            record as lost by the cause "in_child".
        redact: patterns like those of shells (`"internal_*"`) for names whose values are not recorded, beside those
            that are secrets by the SDK's own rule; they are held against names in `config` (`"db.host"`, or `"host"`
            alone), `tags` and the command line, whatever their case. RunStarted.redacted lists what was left out.
        argv: record the command line, less the secrets in it.
        compact: once the run is closed, rewrite its closed segments into full frames where that makes them a third
            smaller; what they hold stays the same. Small segments come first. It takes two seconds of processor time
            at most, and five of the wall clock on a busy machine; what would take longer (some MB of small frames)
            stays as it is, for `esper-telemetry compact`. With a collector the agent does it, when everything is
            durable there.
    """

    flush_interval: float = 1.0
    sync: SyncPolicy = "close"
    on_error: ErrorPolicy = "warn"
    frame_bytes: int = 256 * 1024
    buffer_bytes: int = 16 * 1024 * 1024
    reserve_bytes: int = 4 * 1024 * 1024
    close_timeout: float = 5.0
    segment_bytes: int = 256 * 1024 * 1024
    segment_seconds: float = 3600.0
    keep_bytes: int | None = None
    system_interval: float | None = None
    children: ChildPolicy = "record"
    redact: tuple[str, ...] = ()
    argv: bool = True
    compact: bool = True

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ConfigError: one is out of its range.
        """
        for name in (
            "flush_interval",
            "frame_bytes",
            "buffer_bytes",
            "close_timeout",
            "segment_bytes",
            "segment_seconds",
        ):
            _check_positive(f"RecordOptions.{name}", getattr(self, name))
        if not _is_number(self.reserve_bytes) or self.reserve_bytes < 0:
            raise ConfigError(f"RecordOptions.reserve_bytes is {self.reserve_bytes!r}; it must be 0 or more")
        if self.keep_bytes is not None and not (_is_number(self.keep_bytes) and self.keep_bytes > 0):
            raise ConfigError(f"RecordOptions.keep_bytes is {self.keep_bytes!r}; use None to keep all segments")
        if self.system_interval is not None:
            _check_positive("RecordOptions.system_interval", self.system_interval)
        if self.sync not in ("none", "close", "interval", "every"):
            raise ConfigError(f"RecordOptions.sync is {self.sync!r}; use none, close, interval or every")
        if self.on_error not in ("warn", "raise"):
            raise ConfigError(f"RecordOptions.on_error is {self.on_error!r}; use warn or raise")
        if self.children not in ("record", "count"):
            raise ConfigError(f"RecordOptions.children is {self.children!r}; use record or count")
        patterns: Any = self.redact
        if not isinstance(patterns, (tuple, list)) or not all(isinstance(one, str) and one for one in patterns):
            raise ConfigError(f"RecordOptions.redact is {patterns!r}; use a tuple of patterns, such as ('internal_*',)")


@dataclass(frozen=True, slots=True)
class StreamOptions(Credentials):
    """How the agent sends a run's frames on to a collector; the local record stays the truth.

    The files of Credentials (token_file, tls, tls_ca, tls_cert, tls_key) are given by name.

    Attributes:
        flush_interval: replaces RecordOptions.flush_interval while streaming, in seconds.
        keep_local: keep segments that are durable at the collector.
        give_up_after: seconds that the agent goes on trying, without progress, after the run has ended. What is
            missing then is left to `esper-telemetry push`.
    """

    flush_interval: float = 0.2
    keep_local: bool = True
    give_up_after: float = 600.0

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ConfigError: one cannot be used.
        """
        for name in ("flush_interval", "give_up_after"):
            _check_positive(f"StreamOptions.{name}", getattr(self, name))
        Credentials.__post_init__(self)  # slots make a new class, so that super() has none to refer to


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _check_positive(name: str, value: Any) -> None:
    if not _is_number(value) or not value > 0:
        raise ConfigError(f"{name} is {value!r}; it must be more than 0")
    if not value < _LARGEST:
        raise ConfigError(f"{name} is {value!r}; it must be less than {_LARGEST:,.0f}")


def disabled_by_environment() -> bool:
    """Tell whether ESPER_TELEMETRY_DISABLED turns telemetry off (any value but empty, 0, false or no)."""
    return os.environ.get(DISABLED_VARIABLE, "").strip().lower() not in ("", "0", "false", "no")
