"""What a run records in one call besides `emit`: values, texts, histograms, artifacts, phases, progress.

Each method only hands over; the work is done in a file of its own. All of them may be called from any thread, and in a
fork child like `emit`. None raises into the trainer: what cannot be recorded is counted as invalid, and reported once.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from esper_telemetry.errors import SchemaError
from esper_telemetry.recorder.activity import ProgressReports, TimedPhase
from esper_telemetry.recorder.histogram import log_histogram
from esper_telemetry.recorder.scalars import log_scalars
from esper_telemetry.recorder.texts import log_text, plain_name
from esper_telemetry.v1.process_pb2 import PhaseTimed

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from esper_telemetry.recorder.artifacts import Artifacts
    from esper_telemetry.recorder.core import Core
    from esper_telemetry.recorder.emitter import Emitter


class Shorthand:
    """The part of a run that is not about typed events."""

    _core: Core | None
    _emitter: Emitter
    _folder: Path | None
    _artifacts: Artifacts | None = None
    _progress: ProgressReports | None = None

    def log(self, values: Mapping[str, Any], *, step: int | None = None, **context: Any) -> None:
        """Record a dict of values in one call: `run.log({"loss": 0.5, "eval": {"acc": 0.9}}, step=3)`.

        Args:
            values: name → number; names of a dict inside it are joined by "/": "eval/acc". numpy scalars are numbers, a
                text becomes a TextLogged, None is not measured and left out. A tensor is refused, as everywhere: its
                name is counted and reported, and the other values are recorded.
            step: step they belong to; it may go back.
            **context: fields of Context for this call alone.

        Raises:
            SchemaError: only with strict=True, when a value was refused; the others are recorded.
            SinkError: only with on_error="raise", when the sink has failed.
        """
        if self._core is not None:
            log_scalars(self._core, self._bound(context), values, step)

    def log_text(self, name: str, text: str, *, mime: str | None = None, **context: Any) -> None:
        """Record a text: a sample, a note, a table in Markdown.

        Args:
            name: its name.
            text: a str; beyond 256 KiB of UTF-8 its end is cut off, and the event states how many bytes.
            mime: what it is, such as "text/markdown"; None: plain text.
            **context: fields of Context for this call alone, `step` among them.

        Raises:
            SchemaError: only with strict=True, when name or text is no text.
            SinkError: only with on_error="raise", when the sink has failed.
        """
        if self._core is not None:
            log_text(self._core, self._bound(context), name, text, mime)

    def log_histogram(self, name: str, values: Any, *, bins: int | Sequence[float] = 64, **context: Any) -> None:
        """Record raw values as a histogram (HistogramSummarized), with count, extremes, mean and standard deviation.

        Args:
            name: its name.
            values: a numpy array of any shape or a sequence of numbers; a tensor is refused, `tensor.numpy()` of one on
                the CPU is not. Of more than 262,144 values in an array (16,384 in a sequence) every n-th is looked at,
                and the event states that, which bounds a call to some 10 ms.
            bins: a number of bins of equal width from the smallest to the largest finite value; or rising edges, where
                values outside of them are counted in the first and the last bucket. NaN is counted apart.
            **context: fields of Context for this call alone, `step` among them.

        Raises:
            SchemaError: only with strict=True, when an argument cannot be used.
            SinkError: only with on_error="raise", when the sink has failed.
        """
        if self._core is not None:
            log_histogram(self._core, self._bound(context), name, values, bins)

    def log_artifact(
        self,
        source: str | os.PathLike[str] | bytes | Any,
        *,
        name: str | None = None,
        mime: str | None = None,
        copy: bool = False,
        **context: Any,
    ) -> None:
        """Record that a file belongs to the run, with its size and SHA-256.

        The event is written when a thread has read the file, so leave a file in place until the run is closed. With
        `copy`, one of up to 1 MiB is read in the call (1 ms) and may be removed right after. `close` waits for what is
        still to be read for half of RecordOptions.close_timeout at most; what is left is recorded unread.

        Args:
            source: path of a regular file; or bytes; or a figure with `savefig`, which is drawn as PNG in the call.
            name: what to call it; None: the file's name.
            mime: what it is; None: by the ending of its name, unset where that is unknown.
            copy: copy the file into `artifacts/` in the run's folder; bytes and figures always go there. Copies are
                synced by RecordOptions.sync, are never deleted, and are not sent to a collector.
            **context: fields of Context for this call alone, `step` among them.

        Raises:
            SchemaError: only with strict=True, when `source` or `name` cannot be used.
            SinkError: only with on_error="raise", when the sink has failed.
        """
        if self._core is not None:
            from esper_telemetry.recorder.artifacts import Artifacts  # hashes, MIME types: only runs with files pay

            if self._artifacts is None:
                self._artifacts = Artifacts(self._core, self._folder)
            self._artifacts.log(self._bound(context), source, name, mime, copy=copy)

    def phase(self, name: str, **context: Any) -> AbstractContextManager[None]:
        """Time a block: `with run.phase("rollout"): ...` records a PhaseTimed at its end.

        Blocks nest, in each thread and asyncio task for itself: "update" inside "batch" is recorded as "batch/update".
        An exception marks the phase failed and goes on as it came.

        Args:
            name: name of the phase.
            **context: fields of Context for this event alone.

        Raises:
            SchemaError: only with strict=True, when `name` is no text.
            SinkError: at the end of the block, only with on_error="raise", when the sink has failed.
        """
        if self._core is None:
            return nullcontext()
        try:
            return TimedPhase(self._bound(context), plain_name("a phase", name))
        except SchemaError as error:
            self._core.reject(PhaseTimed.DESCRIPTOR.full_name, error)
            return nullcontext()

    def progress(
        self, *, done: float | None = None, total: float | None = None, unit: str = "step", **context: Any
    ) -> None:
        """Record how far the run is, at most once a second for each unit; call it as often as you like.

        The first call, a changed total and the end (done = total) are always recorded.

        Args:
            done: done so far, in `unit`; None: not known.
            total: planned for the whole run; None: not known.
            unit: what is counted: "step", "batch", "episode".
            **context: fields of Context for this call alone.

        Raises:
            SchemaError: only with strict=True, when an argument is no number.
            SinkError: only with on_error="raise", when the sink has failed.
        """
        if self._core is not None:
            if self._progress is None:
                self._progress = ProgressReports()
            self._progress.report(self._core, self._bound(context), done, total, unit)

    def _bound(self, context: dict[str, Any]) -> Emitter:
        return self._emitter.bind(**context) if context else self._emitter
