"""The interfaces of the places that events can go to in this process: the recorder's own, and those of a user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from esper_telemetry.schema.batch import Batch


class Sink(Protocol):
    """A place for batches. One thread at a time calls it.

    A sink that keeps files may have a `check()` as well, which is called between writes: it looks whether they are
    still there, and reports what is not.
    """

    def write(self, batch: Batch) -> None:
        """Take `batch` whole or not at all; a batch that was refused may be written again.

        Raises:
            SinkError: it was not taken.
        """

    def sync(self) -> None:
        """Make what was written durable.

        Raises:
            SinkError: it is not durable.
        """

    def close(self) -> None:
        """Finish; a second call does nothing.

        Raises:
            SinkError: the end could not be written.
        """


class UserSink(Protocol):
    """A sink of the user's, for `start_run(sinks=[...])`. Only `write` is required.

    A thread of its own calls it, one batch at a time and in the order of their numbers, each batch once and after the
    record file has it. A sink may have a `name` for losses and logs, and a `close()`, which the same thread calls at
    the end of the run. What either raises is counted in `run.stats().sink_losses` and logged; it never reaches the
    trainer. In a fork child it is not called.
    """

    def write(self, batch: Batch) -> None:
        """Take `batch`, whose `new_types` declare each type that this sink has not seen before. It must not change it.

        Numbers that no batch contains are events that were lost to the record as well.
        """
