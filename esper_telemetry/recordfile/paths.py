"""Names and folders of segments: `<dir>/<run_id>/<stream>-r<rank>-<UTC start>-<boot>-<segment>.esr.zst`.

Names are built and parsed here only. They are for people and for order; what a file is, its header states.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from esper_telemetry.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".esr.zst"
_NAME = re.compile(
    r"(?P<stream>.+)-r(?P<rank>\d+)-(?P<started>\d{8}T\d{6}Z)-(?P<boot>[0-9a-f]{8})-(?P<segment>\d{6,})"
    + re.escape(SUFFIX)
)
# One path component everywhere: letters, digits and a few marks, not starting with a dot.
_COMPONENT = re.compile(r"[A-Za-z0-9_+=@,~][A-Za-z0-9_+=@,.~-]{0,127}")


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """The parts of a segment's file name; they sort in the order of a run's streams.

    Attributes:
        stream: name of the stream.
        rank: distributed rank.
        started: UTC start of the stream as YYYYmmddTHHMMSSZ, the same for all its segments.
        boot: first 4 bytes of the producer id, hex.
        segment: number of the segment, from 1.
    """

    stream: str
    rank: int
    started: str
    boot: str
    segment: int

    @classmethod
    def of(cls, stream: str, rank: int, started_unix_nano: int, producer_id: bytes, segment: int) -> SegmentName:
        """Return the name for a segment of a stream that started at `started_unix_nano` (ns since 1970 UTC)."""
        started = datetime.fromtimestamp(started_unix_nano // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
        return cls(path_component("stream", stream), rank, started, producer_id[:4].hex(), segment)

    @classmethod
    def parse(cls, path: Path) -> SegmentName | None:
        """Return the parts of a file's name, or None if it is not named like a segment."""
        match = _NAME.fullmatch(path.name)
        if match is None:
            return None
        return cls(match["stream"], int(match["rank"]), match["started"], match["boot"], int(match["segment"]))

    def format(self) -> str:
        """Return the file name."""
        return f"{self.stream}-r{self.rank}-{self.started}-{self.boot}-{self.segment:06d}{SUFFIX}"

    def same_stream(self, other: SegmentName) -> bool:
        """Tell whether both are segments of one writer's stream."""
        return (self.stream, self.rank, self.started, self.boot) == (
            other.stream,
            other.rank,
            other.started,
            other.boot,
        )


def path_component(what: str, name: str) -> str:
    """Return `name` if it may be a part of a path.

    Raises:
        ConfigError: it holds characters that some file system or shell rejects.
    """
    if _COMPONENT.fullmatch(name) is None:
        raise ConfigError(
            f"{what} {name!r} cannot be a file name; use up to 128 letters, digits and _ + = @ , . ~ -"
            " (but not . or - at the start)"
        )
    return name
