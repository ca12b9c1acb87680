"""What the bytes of a record file are: headers, data, what stands beside the data, the footer.

It reads structures with the one-file decoder, which shares no code with the library, so files of any build of the
format are weighed by the same scale. Nothing is decompressed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from decode_records import DESC, SEEK_TABLE, ZSTD, Source

_RECORDS = 5  # place of the number of events among the fields of a DESC


@dataclass
class Sizes:
    """Bytes of a record file, or of several.

    Attributes:
        header: prologues, header frames with their descriptors and parity.
        data: zstd frames that hold events.
        beside: descriptors of these frames, and marks of skipped sequence numbers.
        footer: index and seek table; 0 in a file that is still written.
        frames: how many frames hold events.
        events: how many events they hold.
    """

    header: int = 0
    data: int = 0
    beside: int = 0
    footer: int = 0
    frames: int = 0
    events: int = 0

    @property
    def whole(self) -> int:
        """Bytes of everything."""
        return self.header + self.data + self.beside + self.footer


def weigh(path: Path) -> Sizes:
    """Return what the whole structures of a record file take.

    Raises:
        ValueError: it is no record file.
    """
    sizes = Sizes()
    with path.open("rb") as stream:
        source = Source(stream, 0)
        while magic := source.magic():
            if magic == ZSTD:
                frame = source.zstd_frame()
                packed = source.skippable(source.magic())
                if events := DESC.unpack(packed)[_RECORDS]:
                    sizes.data += len(frame)
                    sizes.beside += len(packed)
                    sizes.frames += 1
                    sizes.events += events
                else:
                    sizes.header += len(frame) + len(packed)
                continue
            whole = source.skippable(magic)
            tag = whole[8:12]
            if magic == SEEK_TABLE or tag == b"EIDX":
                sizes.footer += len(whole)
            elif tag in {b"ESPE", b"EPAR"}:
                sizes.header += len(whole)
            else:
                sizes.beside += len(whole)
    return sizes
