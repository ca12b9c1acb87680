"""Saves what can be saved of a damaged or cut record into a new file; the damaged one is never touched.

Whole frames are kept byte for byte. Of a cut last frame the whole events are kept in
a frame of their own, which a header marks as unverified. Ranges that are lost are marked
as such. A header that is damaged is made again, or another one is assumed, which is said. The
output is read back and verified before anybody is told that it worked, and recovering it again gives the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError, NotARecordError, UnsupportedRecordError
from esper_telemetry.recordfile.foreign import looks_like
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.keep import Keep
from esper_telemetry.recordfile.place import Halves, Placed, place
from esper_telemetry.recordfile.salvage import salvage
from esper_telemetry.recordfile.source import open_source
from esper_telemetry.recordfile.spare import find_spare
from esper_telemetry.recordfile.walk import walk

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from esper_telemetry.recordfile.source import Source


@dataclass(slots=True)
class Recovery(Placed):
    """What a recovery did; see `Placed`.

    Attributes:
        path: the damaged file.
    """

    path: str = ""


def recover(
    source: str | os.PathLike[str] | bytes | Source,
    output: str | os.PathLike[str],
    *,
    schema_from: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Recovery:
    """Write everything that is whole in `source` to the new file `output`.

    Args:
        source: the damaged or cut file.
        output: the file to create.
        schema_from: a record whose types are assumed where the header is lost. Without it those of a segment of the
            same stream are, or those of this SDK if the file proves that they are its own.
        progress: called with what is done and what there is to do, in bytes: reading the one, checking the other.

    Returns:
        What was kept and what was lost. Of a file that was never closed nobody knows: it is never `complete`.

    Raises:
        NotARecordError: nothing of a record is in it.
        CorruptRecordError: no header could be read, so nothing says what the frames hold.
        SinkError: the output exists already or cannot be written.
    """
    opened = open_source(source)
    try:
        decoder, halves = FrameDecoder(), Halves(progress, [opened.size])
        vouched = None if schema_from is None else Path(schema_from)
        keep = Keep(opened, decoder, find_spare=lambda: find_spare(Path(opened.name), vouched))
        keep.add_all(salvage(opened, decoder, walk(opened)), halves.of_input(0))
        if not keep.contexts:
            raise _nothing(opened)
        result = Recovery(Path(output), path=opened.name, lost_bytes=keep.lost_bytes, open_end=keep.open_end)
        result.damage = {opened.name: keep.damage} if keep.damage else {}
        result.assumed = {opened.name: keep.assumed} if keep.assumed else {}
        place(keep.contexts, result, halves.checked)
        return result
    finally:
        opened.close()


def _nothing(source: Source) -> CorruptRecordError | NotARecordError | UnsupportedRecordError:
    start = source.read_at(0, 24)
    if b"ESPERREC" in start:
        said = "no header can be read, and no segment of the same stream or schema of this SDK fits"
        advice = "pass a record of the same program as --schema-from"
        return CorruptRecordError(f"{said}, so nothing is recoverable; {advice}", path=source.name, offset=0)
    return NotARecordError(f"nothing of a record is in it: {looks_like(start)}; check the path", path=source.name)
