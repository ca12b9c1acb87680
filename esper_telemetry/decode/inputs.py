"""What a person passes as a record, as files: a file, a run folder, a pattern, or several of them."""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

from esper_telemetry.errors import NotARecordError
from esper_telemetry.recordfile import list_run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    RecordPath = str | os.PathLike[str]


def record_files(path: RecordPath | Iterable[RecordPath]) -> list[Path]:
    """Return the record files that `path` stands for, each once.

    Args:
        path: a file, a run folder, a pattern such as "runs/*/main-r0-*", or several of these.

    Raises:
        NotARecordError: nothing is there.
    """
    paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    if not paths:
        raise NotARecordError("no path was given; pass a record file or a run folder")
    found: dict[str, Path] = {}
    for each in paths:
        for file in _files(each):
            found.setdefault(os.path.realpath(file), file)
    return list(found.values())


def _files(path: RecordPath) -> list[Path]:
    text = os.fspath(path)
    if not glob.has_magic(text) or os.path.lexists(text):
        return list_run(text)
    matches = sorted(glob.glob(text))  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not matches:
        raise NotARecordError("no file matches this pattern; check the path, or quote nothing", path=text)
    return [file for match in matches for file in list_run(match)]
