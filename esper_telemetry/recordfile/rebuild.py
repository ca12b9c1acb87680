"""Makes a new record of what can be read of old ones: `recover` of one that is damaged or cut, `merge` of several.

Whole frames are kept byte for byte, every segment with its own types, sequence numbers and footer; what was merged is
compacted then, and what was recovered where that is asked for. Of a cut last frame the whole events are kept in a frame
of their own, which a header marks as unverified. Ranges that are lost are marked as such. A header that is damaged is
made again, or another one is assumed, which the result states. The inputs are never changed; the output is read back
and verified before it counts, and recovering it again gives the same bytes.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError, NotARecordError, RecordError, UnsupportedRecordError
from esper_telemetry.recordfile.compaction import compact_file
from esper_telemetry.recordfile.damage import Damage
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.keep import Keep
from esper_telemetry.recordfile.place import Halves, Placed, place
from esper_telemetry.recordfile.reader import check_prologue, looks_like
from esper_telemetry.recordfile.run_folder import PassedOver, nothing_to_read
from esper_telemetry.recordfile.salvage import salvage
from esper_telemetry.recordfile.source import OpenFiles, open_source
from esper_telemetry.recordfile.spare import find_spare
from esper_telemetry.recordfile.walk import walk

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from esper_telemetry.recordfile.keep import Context
    from esper_telemetry.recordfile.source import Source
    from esper_telemetry.recordfile.spare import Spare
    from esper_telemetry.v1 import record_pb2


@dataclass(slots=True)
class Recovery(Placed):
    """What a recovery did; see `Placed`.

    Attributes:
        path: the damaged file.
    """

    path: str = ""


@dataclass(slots=True)
class Merge(Placed):
    """What a merge did; see `Placed`.

    Attributes:
        paths: the files that were joined.
        runs: the run ids in them.
        attempts: the attempts at these runs.
        passed_over: files that are no records.
    """

    paths: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)


def recover(
    source: str | os.PathLike[str] | bytes | Source,
    output: str | os.PathLike[str],
    *,
    schema_from: str | os.PathLike[str] | None = None,
    compact: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Recovery:
    """Write everything that is whole in `source` to the new file `output`.

    Args:
        source: the damaged or cut file.
        output: the file to create.
        schema_from: a record whose types are assumed where the header is lost. Without it those of a segment of the
            same stream are, or those of this SDK if the file proves that they are its own.
        compact: rewrite the new file into full frames where that makes it a third smaller. Without it, and where events
            are marked as unverified, whole frames stay byte for byte those of `source`.
        progress: called with what is done and what there is to do, in bytes: reading the one, checking the other.

    Returns:
        What was kept and what was lost. Of a file that was never closed the end is unknown: it is never `complete`.

    Raises:
        NotARecordError: nothing of a record is in it.
        CorruptRecordError: no header could be read, so nothing states what the frames hold.
        SinkError: the output exists already or cannot be written.
    """
    opened = open_source(source)
    try:
        halves = Halves(progress, [opened.size])
        vouched = None if schema_from is None else Path(schema_from)
        result = Recovery(Path(output), path=opened.name)
        contexts: list[Context] = []
        _keep(opened, contexts, result, lambda: find_spare(Path(opened.name), vouched), halves.of_input(0))
        if not contexts:
            raise _nothing(opened)
        place(contexts, result, halves.checked)
        if compact:
            _compact(result)
        return result
    finally:
        opened.close()


def merge(
    paths: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Merge:
    """Write the segments of the files `paths` into the new file `output`, by run, stream, rank and segment.

    Damaged inputs are recovered on the way; what could not be read is in the result. Segments that are there twice are
    put together. Among several files one that is no record is passed over. The new file is compacted where that makes
    it a third smaller.

    Args:
        paths: record files.
        output: the file to create.
        force: take files of different runs together.
        progress: called with what is done and what there is to do, in bytes: reading the inputs, checking the output.

    Raises:
        RecordError: no file is a record, none has a header, or the files belong to different runs.
        SinkError: the output exists already or cannot be written.
    """
    contexts: list[Context] = []
    result = Merge(Path(output), paths=[str(path) for path in paths])
    with ExitStack() as stack:
        sources = _open_all(paths, result)
        for source in sources:
            stack.callback(source.close)
        halves = Halves(progress, [source.size for source in sources])
        for number, source in enumerate(sources):
            spare = partial(find_spare, Path(source.name))
            if not _keep(source, contexts, result, spare, halves.of_input(number)):
                headless = Damage(0, source.size, "no header can be read, so nothing of it can be joined")
                result.damage.setdefault(source.name, []).append(headless)
                result.open_end = True
        if not contexts:
            raise CorruptRecordError(
                "no header can be read, so nothing can be joined", path=", ".join(result.paths[:5])
            )
        result.runs = sorted({context.header.run_id for context in contexts})
        result.attempts = sorted({context.header.attempt or 1 for context in contexts})
        if len(result.runs) > 1 and not force:
            raise RecordError(
                f"the files belong to {len(result.runs)} runs ({', '.join(result.runs[:5])});"
                " pass the files of one run, or --force",
                path=str(output),
            )
        place(sorted(contexts, key=lambda context: _order(context.header)), result, halves.checked)
    _compact(result)
    return result


def _compact(result: Placed) -> None:
    compacted = compact_file(result.output)
    if not compacted.kept:
        result.frames = compacted.frames[1]


def _keep(
    source: Source,
    contexts: list[Context],
    result: Placed,
    find: Callable[[], Spare | None],
    progress: Callable[[int], None],
) -> bool:
    """Add what can be kept of a file to `contexts` and what cannot to `result`; return whether it has a header."""
    decoder = FrameDecoder()
    keep = Keep(source, decoder, contexts, find)
    keep.add_all(salvage(source, decoder, walk(source)), progress)
    if keep.damage:
        result.damage[source.name] = keep.damage
    if keep.assumed:
        result.assumed[source.name] = keep.assumed
    result.lost_bytes += keep.lost_bytes
    result.open_end |= keep.open_end
    return keep.found


def _open_all(paths: Sequence[str | os.PathLike[str]], result: Merge) -> list[Source]:
    """Open what can be, few files of them at once; of several, those that are no records are noted in `result`."""
    files = OpenFiles()
    sources: list[Source] = []
    for path in paths:
        try:
            sources.append(_opened(path, files))
        except RecordError as error:
            if len(paths) == 1:
                raise
            result.passed_over.append(PassedOver(Path(path), error.reason))
    if not sources:
        raise nothing_to_read(result.passed_over)
    return sources


def _opened(path: str | os.PathLike[str], files: OpenFiles) -> Source:
    source = open_source(path, files)
    try:
        check_prologue(source)
    except RecordError:
        source.close()
        raise
    return source


def _order(header: record_pb2.Header) -> tuple[str, str, int, bytes, int]:
    return header.run_id, header.stream, header.rank, header.producer_id, header.segment


def _nothing(source: Source) -> CorruptRecordError | NotARecordError | UnsupportedRecordError:
    start = source.read_at(0, 24)
    if b"ESPERREC" in start:
        why = "no header can be read, and no segment of the same stream or schema of this SDK fits"
        advice = "pass a record of the same program as --schema-from"
        return CorruptRecordError(f"{why}, so nothing is recoverable; {advice}", path=source.name, offset=0)
    return NotARecordError(f"nothing of a record is in it: {looks_like(start)}; check the path", path=source.name)
