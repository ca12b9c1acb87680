"""The one interface of every place events can go to in this process."""

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
