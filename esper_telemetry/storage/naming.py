"""Names of run folders and segment files. Pure.

Ids come from clients: they are checked, and what becomes part of a path is encoded besides. The header of a file states
whose it is; its name is for people.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile.layout import ID_BYTES
from esper_telemetry.recordfile.paths import SegmentName

if TYPE_CHECKING:
    from pathlib import Path

    from esper_telemetry.v1 import record_pb2

# What `start_run` makes run ids and stream names of: one path component everywhere.
_ID = re.compile(r"[A-Za-z0-9_+=@,~][A-Za-z0-9_+=@,.~-]{0,127}", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_+@,.~-]", re.ASCII)
_FOLDER = re.compile(r"(?:[A-Za-z0-9_+@,.~-]|=[0-9A-F]{2})+", re.ASCII)
NAME_RULE = "up to 128 letters, digits and _ + = @ , . ~ -, not starting with . or -"
_LONGEST_NAME = 200


class ProducerKey(NamedTuple):
    """A producer: the owner of one numbering.

    Attributes:
        run_id: its run.
        producer_id: 16 bytes.
    """

    run_id: str
    producer_id: bytes

    def __str__(self) -> str:
        """Return a short name for logs."""
        return f"{self.run_id}/{self.producer_id.hex()[:8]}"


def is_name(text: str) -> bool:
    """Return whether `text` can be a run id or the name of a stream."""
    return _ID.fullmatch(text) is not None


def run_folder(run_id: str) -> str:
    """Return the folder name of a run: its id, with everything that is not plain written as =XX. Injective.

    What would be longer than a file system takes becomes == and a SHA-256.
    """
    encoded = "".join(
        char if _PLAIN.fullmatch(char) else "".join(f"={byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
        for char in run_id
    )
    if encoded.startswith("."):
        encoded = f"={ord('.'):02X}{encoded[1:]}"
    if len(encoded) <= _LONGEST_NAME:
        return encoded
    return f"=={hashlib.sha256(run_id.encode('utf-8', 'surrogatepass')).hexdigest()}"


def run_id_of(folder: str) -> str | None:
    """Return the run id that a folder's name is made of; None where only a header inside tells, or it is no run's."""
    if folder.startswith("==") or not _FOLDER.fullmatch(folder):
        return None
    raw = re.sub(rb"=([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), folder.encode())
    run_id = raw.decode("utf-8", "surrogatepass")
    return run_id if run_folder(run_id) == folder else None


def may_be_of(path: Path, producer_id: bytes) -> bool:
    """Return whether a file may be a segment of a producer, by its name; the header decides."""
    name = SegmentName.parse(path)
    return name is not None and name.boot in {producer_id[at : at + 4].hex() for at in range(0, ID_BYTES, 4)}


def segment_names(header: record_pb2.Header, segment: int) -> list[str]:
    """Return the file names that a producer's segment may have, the usual one first.

    A name holds four bytes of the producer id; where another producer's are the same, the next four are taken.

    Raises:
        SinkError: the name of the stream cannot be a part of a file name.
    """
    stream, ids = header.stream, header.producer_id
    if not is_name(stream):
        raise SinkError(f"header.stream {stream[:200]!r} cannot be a part of a file name: {NAME_RULE}")
    return [
        SegmentName.of(stream, header.rank, header.anchor_unix_nano, ids[at : at + 4], segment).format()
        for at in range(0, ID_BYTES, 4)
    ]
