"""Joins record files into one: every segment with its own types, numbers and footer, frames byte for byte.

Segments that are there twice are put together. A reader merges the events of several
streams by time: `merge_events`.
"""

from __future__ import annotations

import heapq
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.errors import CorruptRecordError, RecordError
from esper_telemetry.recordfile.damage import Damage
from esper_telemetry.recordfile.folder import PassedOver, nothing_to_read
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.keep import Context, Keep
from esper_telemetry.recordfile.place import Halves, Placed, place
from esper_telemetry.recordfile.reader import check_prologue
from esper_telemetry.recordfile.salvage import salvage
from esper_telemetry.recordfile.source import OpenFiles, open_source
from esper_telemetry.recordfile.spare import find_spare
from esper_telemetry.recordfile.walk import walk

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from esper_telemetry.recordfile.segment import Segment
    from esper_telemetry.recordfile.source import Source
    from esper_telemetry.v1 import record_pb2


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


def merge(
    paths: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Merge:
    """Write the segments of the files `paths` into the new file `output`, by run, stream, rank and segment.

    Damaged inputs are recovered on the way; what could not be read is in the result. Among several files one that
    is no record is passed over.

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
    decoder = FrameDecoder()
    with ExitStack() as stack:
        sources = _open_all(paths, result)
        for source in sources:
            stack.callback(source.close)
        halves = Halves(progress, [source.size for source in sources])
        for number, source in enumerate(sources):
            keep = Keep(source, decoder, contexts, partial(find_spare, Path(source.name)))
            keep.add_all(salvage(source, decoder, walk(source)), halves.of_input(number))
            if not keep.found:
                keep.damage.append(Damage(0, source.size, "no header can be read, so nothing of it can be joined"))
            if keep.damage:
                result.damage[source.name] = keep.damage
            if keep.assumed:
                result.assumed[source.name] = keep.assumed
            result.lost_bytes += keep.lost_bytes
            result.open_end |= keep.open_end or not keep.found
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
    return result


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


def merge_events(
    streams: Iterable[tuple[Segment, Iterable[record_pb2.Event]]],
) -> Iterator[tuple[Segment, record_pb2.Event]]:
    """Yield the events of several streams by time; inside a stream their order is kept, whatever its clock did.

    Args:
        streams: for each stream its segment (for types and header) and its events in order.
    """
    keyed = [_keyed(number, segment, events) for number, (segment, events) in enumerate(streams)]
    for _, _, _, segment, event in heapq.merge(*keyed, key=lambda item: item[:3]):
        yield segment, event


def _keyed(
    number: int, segment: Segment, events: Iterable[record_pb2.Event]
) -> Iterator[tuple[int, int, int, Segment, record_pb2.Event]]:
    latest = 0
    for place_in_stream, event in enumerate(events):
        latest = max(latest, event.time_unix_nano)
        yield latest, number, place_in_stream, segment, event
