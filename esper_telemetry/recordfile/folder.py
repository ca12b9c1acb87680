"""What stands in a run folder: records, and what only looks like one.

Files are judged by name and kind alone, none is opened: what a file holds, its reader finds out. Nothing is
passed over without a reason that can be told.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import NotARecordError
from esper_telemetry.recordfile.paths import SUFFIX, SegmentName

if TYPE_CHECKING:
    from collections.abc import Iterable

# What NFS leaves of a file that was removed while somebody had it open.
_NFS_REMOVED = ".nfs"


class PassedOver(NamedTuple):
    """A file that was not read, and why.

    Attributes:
        path: the file.
        reason: why.
    """

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: passed over: {self.reason}"


class RunFolder(NamedTuple):
    """What stands in a folder.

    Attributes:
        records: files that may be records, in the order of streams and segments.
        passed_over: those that are named like one and are none.
    """

    records: list[Path]
    passed_over: list[PassedOver]


def look_into(folder: Path) -> RunFolder:
    """Return what stands in a folder.

    Raises:
        NotARecordError: it cannot be listed.
    """
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are wanted, of a thousand segments
    except OSError as error:
        raise NotARecordError(
            f"the folder cannot be listed: {error.strerror}; check permissions", path=str(folder)
        ) from error
    found = RunFolder([], [])
    for name in names:
        if SUFFIX not in name and not name.startswith(_NFS_REMOVED):
            continue  # nobody takes it for a record
        reason = objection(folder / name)
        if reason:
            found.passed_over.append(PassedOver(folder / name, reason))
        else:
            found.records.append(folder / name)
    found.records.sort(key=_order)
    found.passed_over.sort()
    return found


def list_run(path: str | Path) -> list[Path]:
    """Return the record files that `path` stands for: itself, or the segments in a run folder, in order.

    Raises:
        NotARecordError: there is no such path, or the folder holds no record.
    """
    path = Path(path)
    if not path.is_dir():
        if not os.path.lexists(path):
            raise NotARecordError("there is no such file or folder; check the path", path=str(path))
        return [path]
    found = look_into(path).records
    if not found:
        raise no_record_in(path)
    return found


def no_record_in(folder: Path) -> NotARecordError:
    """Return the error for a folder that holds no record."""
    inside = sorted({segment.parent.name for segment in folder.glob("*/*" + SUFFIX)})
    hint = f"it has run folders: {', '.join(inside[:5])}; pass one of them" if inside else "check the path"
    return NotARecordError(f"the folder holds no {SUFFIX} file; {hint}", path=str(folder))


def nothing_to_read(passed_over: Iterable[PassedOver]) -> NotARecordError:
    """Return the error for files none of which can be read."""
    first, *others = passed_over
    more = f" ({len(others):,} more were passed over)" if others else ""
    return NotARecordError(f"{first.reason}; nothing else is there to read{more}", path=str(first.path))


def objection(path: Path) -> str:
    """Return why a file that was found, and not named by anybody, cannot be a record; empty if it may be one."""
    by_name = _by_name(path.name)
    if by_name or path.is_file():
        return by_name
    if path.exists():
        return "it is a folder, a pipe or a device, not a file"
    return "it is a link to nothing" if path.is_symlink() else "it was removed meanwhile"


def _by_name(name: str) -> str:
    if name.startswith(_NFS_REMOVED):
        return "it was removed while a process had it open"
    if name.startswith("."):
        return "it is hidden: metadata of another system, or a copy that is not complete"
    if SUFFIX in name and not name.endswith(SUFFIX):
        return f"its name goes on after {SUFFIX}: a copy that is not complete, or a backup"
    return ""


def _order(path: Path) -> tuple[int, SegmentName | None, str]:
    name = SegmentName.parse(path)
    return (0, name, "") if name is not None else (1, None, path.name)
