"""Builds a record file from frames that exist already, as they stand: for recover, merge, filter and a store.

The twin of the writer: that one makes frames from events, this one places frames as
they stand. One file may hold several segments, one after the other.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

from esper_telemetry.recordfile import layout
from esper_telemetry.recordfile.append import AppendFile
from esper_telemetry.recordfile.index import FooterBuilder

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from esper_telemetry.recordfile.layout import Descriptor, Skip


class RecordBuilder:
    """A record file that is put together from whole pieces.

    Used as a context manager it removes the file when its body raises.

    Args:
        path: the file to create; it must not exist.

    Raises:
        SinkError: the file exists already or cannot be created. Every method raises it when a write fails.

    Attributes:
        path: the file.
        last_seq: last number covered in the present segment.
        records: events placed, over all segments.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.last_seq = 0
        self.records = 0
        self._file = AppendFile(self.path)
        self._footer = FooterBuilder()
        self._start = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._file.discard()
        else:
            self.close()

    @property
    def size(self) -> int:
        """Bytes placed so far."""
        return self._file.size

    def start_segment(self, *, previous_last_seq: int = 0) -> None:
        """Place a prologue: types, numbers and the footer start anew."""
        self._start = self._file.size
        self._footer = FooterBuilder()
        self.last_seq = previous_last_seq
        self.add_skippable(layout.pack_prologue())

    def add_header(self, data: bytes, desc: Descriptor, parity: bytes = b"") -> None:
        """Place a header frame.

        Args:
            data: the frame and its descriptor.
            desc: that descriptor, parsed.
            parity: what `header_parity` returns for it.
        """
        offset = self._file.size - self._start
        self._file.append(data)
        self._footer.add_header(offset, data[: desc.compressed_size], desc.raw_size)
        if parity:
            self.add_skippable(parity)

    def add_frame(self, data: bytes, desc: Descriptor, type_counts: Mapping[int, int] | None = None) -> None:
        """Place a data frame.

        Args:
            data: the frame and its descriptor.
            desc: that descriptor, parsed.
            type_counts: events by type id; None where nobody looked, and readers ask the descriptor then.
        """
        offset = self._file.size - self._start
        self._file.append(data)
        self._footer.add_data(offset, data[: desc.compressed_size], desc, type_counts or Counter())
        self.last_seq = desc.last_seq
        self.records += desc.records

    def add_skip(self, skip: Skip) -> None:
        """Place the marker of a range of numbers that will never come."""
        self.add_skippable(layout.pack_skip(skip))
        self.last_seq = max(self.last_seq, skip.last_seq)

    def add_skippable(self, data: bytes) -> None:
        """Place a skippable frame of any kind."""
        self._file.append(data)
        self._footer.add_skippable(len(data))

    def finish_segment(self) -> None:
        """Place index and seek table."""
        self._file.append(self._footer.footer())

    def sync(self) -> None:
        """Force what was placed to the disk."""
        self._file.sync()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()
