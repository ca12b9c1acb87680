"""What lost headers declared, as far as the file itself proves it.

A parity holds the fingerprint of what its header declares, and a header declares the types of the frame after it that
no earlier header has; that of a file that was written anew declares the types of all its frames. So where a program's
types are known (those of this SDK, or of a record that a user vouches for), the declaration of a lost header can be
made again: it is right if it has the same fingerprint. Nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile.facts import frame_facts
from esper_telemetry.recordfile.header import descriptor_files, is_further
from esper_telemetry.recordfile.parity import FINGERPRINT_BYTES, parse_parity
from esper_telemetry.recordfile.piece import Kind
from esper_telemetry.recordfile.row_types import row_types
from esper_telemetry.recordfile.salvage import find_header
from esper_telemetry.recordfile.segment import Assembler
from esper_telemetry.recordfile.walk import walk
from esper_telemetry.schema.builtin import IN_EVERY_RUN, is_built_in
from esper_telemetry.schema.descriptors import needed_files
from esper_telemetry.schema.fingerprint import schema_fingerprint
from esper_telemetry.v1 import context_pb2, record_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf import descriptor_pb2

    from esper_telemetry.recordfile.frame import FrameDecoder
    from esper_telemetry.recordfile.piece import Piece
    from esper_telemetry.recordfile.source import Source


@dataclass(frozen=True, slots=True)
class Declarable:
    """What a program may declare.

    Attributes:
        types: full name by type id.
        files: the files of their definitions and of Context, by name.
    """

    types: Mapping[int, str]
    files: Mapping[str, descriptor_pb2.FileDescriptorProto]

    def declaration(self, type_ids: Iterable[int], known: Iterable[str], *, first: bool) -> record_pb2.Header:
        """Return types and descriptors of the header that declares these types.

        Args:
            type_ids: the types.
            known: names of the files that earlier headers carry.
            first: it is the first header, which carries Context.
        """
        header = record_pb2.Header()
        for number in sorted(type_ids):
            header.types.add(type_id=number, full_name=self.types[number])
        names = [context_pb2.Context.DESCRIPTOR.full_name] * first + [entry.full_name for entry in header.types]
        files = needed_files(self.files, names, known)
        if files.file:
            header.file_descriptor_set = files.SerializeToString(deterministic=True)
        return header


@dataclass(slots=True)
class Declared:
    """What headers of a file declare.

    Attributes:
        types: full name by type id.
        files: names of the files that they carry.
        first: whether the first header is among them.
    """

    types: dict[int, str] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    first: bool = False

    def add(self, header: record_pb2.Header) -> None:
        """Take what a header declares."""
        self.types.update((entry.type_id, entry.full_name) for entry in header.types)
        self.files.update(descriptor_files(header.file_descriptor_set))


class LostHeaders:
    """Finds out what the lost headers of a file of one segment declared.

    Args:
        source: the file.
        decoder: decompresses its frames.
        could: what its writer may have declared.

    Attributes:
        proven: declarations that were made again, in file order.
        unproven: how many of the headers declared something else.
        whole: what can still be read, and what is proven.
    """

    def __init__(self, source: Source, decoder: FrameDecoder, could: Declarable) -> None:
        self._source = source
        self._decoder = decoder
        self._could = could
        self._is_lost = False
        self._fingerprints: list[bytes] = []
        self.proven: list[record_pb2.Header] = []
        self._first: list[bytes] = []
        self._used: set[int] = set()
        self.unproven = 0
        self.whole = Declared()
        for piece in walk(source):
            self._take(piece)
        for fingerprint in self._first:
            self._prove_first(fingerprint)

    def _take(self, piece: Piece) -> None:
        if piece.kind in {Kind.HEADER, Kind.DAMAGE}:
            header = self._read(piece)
            self._is_lost |= header is None
            if header is not None:
                self.whole.add(header)
                self.whole.first |= not is_further(header)
        elif piece.kind is Kind.PARITY and self._is_lost:
            parity = parse_parity(self._source.read_at(piece.offset, piece.end - piece.offset))
            self._fingerprints.append(parity.fingerprint)
            self._is_lost = False
        elif piece.kind is Kind.DATA:
            if self._fingerprints or self._first:
                self._prove(piece)
            self._is_lost = False

    def _read(self, piece: Piece) -> record_pb2.Header | None:
        """Return the header in a piece; None where it is lost."""
        try:
            if piece.kind is Kind.HEADER and piece.descriptor is not None:
                return Assembler(self._source, self._decoder).read_header(piece.offset, piece.descriptor)
        except RecordError:
            return None
        found = find_header(self._source, self._decoder, piece)
        return found[1].header if found is not None else None

    def _prove(self, piece: Piece) -> None:
        """Make again what was declared just before a frame."""
        fingerprints, self._fingerprints = self._fingerprints, []
        assert piece.descriptor is not None  # noqa: S101 - a DATA piece has one
        frame = self._source.read_at(piece.offset, piece.descriptor.compressed_size)
        try:
            raw = self._decoder.decode(frame, piece.descriptor.raw_size)
            used = set(frame_facts(raw).type_counts)
        except RecordError:
            return
        used |= row_types(raw, used, self._could.types)
        self._used |= used
        for fingerprint in fingerprints:
            new = self._new(used)
            # The first header of a stream declares what every run emits and what schemas were given to it, that of a
            # child's stream nothing, that of a later segment the types of its first frame.
            is_first = not self.whole.first
            guesses = [(), *self._of_a_stream(new)] if is_first else []
            if any(self._try(one, fingerprint, first=is_first) for one in (*guesses, new)):
                continue
            if is_first and not self._first:
                self._first.append(fingerprint)
            else:
                self.unproven += 1

    def _prove_first(self, fingerprint: bytes) -> None:
        """Make the first header again as that of a file that was written anew, with the types of all frames."""
        new = self._new(self._used)
        guesses = [] if self.whole.first else [new, *self._of_a_stream(new)]
        if not any(self._try(one, fingerprint, first=True) for one in guesses):
            self.unproven += 1

    def _of_a_stream(self, new: Iterable[int]) -> list[set[int]]:
        """Return what the first header of a run's stream may declare, with schemas of its own and without."""
        every = {number for number, name in self._could.types.items() if name in IN_EVERY_RUN}
        own = {number for number, name in self._could.types.items() if not is_built_in(name)}
        return [every, every | own, every | set(new), every | own | set(new)]

    def _new(self, used: Iterable[int]) -> list[int]:
        return [one for one in used if one not in self.whole.types and one in self._could.types]

    def _try(self, type_ids: Iterable[int], fingerprint: bytes, *, first: bool) -> bool:
        made = self._could.declaration(type_ids, self.whole.files, first=first)
        if schema_fingerprint(made)[:FINGERPRINT_BYTES] != fingerprint:
            return False
        self.proven.append(made)
        self.whole.add(made)
        self.whole.first |= first
        return True
