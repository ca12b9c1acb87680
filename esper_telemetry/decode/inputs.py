"""What a person passes as a record, as files: a file, a run folder, a pattern, or several of them, here or at a URL.

A file at a URL (s3://bucket/run, or any that fsspec knows) is a Path of that URL, which only `open_source` opens.
Only a file that is named alone must be a record: what a folder or a pattern brings along, or a shell that
spelled a pattern out, is passed over with a reason where it is none.
"""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.errors import NotARecordError
from esper_telemetry.recordfile import SUFFIX, PassedOver, look_into
from esper_telemetry.recordfile.remote import RemoteFolder, url_of
from esper_telemetry.recordfile.run_folder import no_record_in, nothing_to_read, objection, segment_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    RecordPath = str | os.PathLike[str]

# HOST:PORT, or HOST:PORT/RUN.
_LIKE_A_COLLECTOR = re.compile(r"[^\s:/]+:[0-9]{1,5}(/[^/]+)?\Z")


@dataclass(frozen=True, slots=True)
class RecordFiles:
    """Files that may be records.

    Attributes:
        files: each once, in the order of what was passed, of a folder in the order of streams and segments.
        passed_over: what was found besides them and cannot be a record.
        folders: folders of which every file is among `files`: what is missing there is missing.
        alone: it is one file, named by the caller: what is wrong with it is an error.
    """

    files: tuple[Path, ...]
    passed_over: tuple[PassedOver, ...] = ()
    folders: frozenset[Path] = frozenset()
    alone: bool = False

    def __iter__(self) -> Iterator[Path]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def record_files(path: RecordPath | Iterable[RecordPath] | RecordFiles | None) -> RecordFiles:
    """Return the record files that `path` means. None is opened.

    Args:
        path: a file, a run folder, a pattern such as "runs/*/main-r0-*", a URL of one of these, or several. None is
            the folder of a run that records nothing, and means no file.

    Raises:
        NotARecordError: nothing is there, or a URL cannot be reached.
        MissingExtraError: a URL needs a package that is not installed.
        ConfigError: no file system is known for a URL.
    """
    if path is None:
        return RecordFiles(())
    if isinstance(path, RecordFiles):
        return path
    paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    if not paths:
        raise NotARecordError("no path was given; pass a record file or a run folder")
    gathered = _Gathered()
    for each in paths:
        gathered.add(os.fspath(each))
    if not gathered.files:
        raise gathered.nothing(paths)
    return RecordFiles(
        tuple(gathered.files.values()),
        tuple(gathered.passed_over),
        frozenset(gathered.folders),
        alone=len(paths) == 1 and gathered.named == 1,
    )


@dataclass(slots=True)
class _Gathered:
    """What was found so far."""

    files: dict[str, Path] = field(default_factory=dict)
    passed_over: list[PassedOver] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    named: int = 0

    def add(self, text: str) -> None:
        text = text.removeprefix("file://")
        path = Path(text)
        if url_of(text) is not None:
            self._remote(RemoteFolder(text))
        elif glob.has_magic(text) and not os.path.lexists(text):
            self._pattern(text)
        elif path.is_dir():
            self._folder(path)
        elif os.path.lexists(text):
            self.named += 1
            self._file(path)
        else:
            hint = "check the path"
            if _LIKE_A_COLLECTOR.match(text):
                hint = (
                    "`tail`, `watch`, `top` and `ui` read a run from a collector, and any verb reads its folder of runs"
                )
            raise NotARecordError(f"there is no such file or folder; {hint}", path=text)

    def _pattern(self, text: str) -> None:
        matches = sorted(glob.glob(text))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if not matches:
            raise NotARecordError("no file matches this pattern; check the path, or quote nothing", path=text)
        for match in map(Path, matches):
            reason = "" if match.is_dir() else objection(match)
            if reason:
                self.passed_over.append(PassedOver(match, reason))
            elif match.is_dir():
                self._folder(match)
            else:
                self._file(match)

    def _folder(self, path: Path) -> None:
        try:
            found = look_into(path)
        except NotARecordError as error:
            self.passed_over.append(PassedOver(path, error.reason))
            return
        self.passed_over += found.passed_over
        if not found.records:
            self.passed_over.append(PassedOver(path, no_record_in(path).reason))
        self.folders.append(path)
        for file in found.records:
            self._file(file)

    def _remote(self, place: RemoteFolder) -> None:
        if glob.has_magic(place.url):
            matches = place.matches()
            if not matches:
                raise NotARecordError("no file matches this pattern; check the URL", path=place.url)
            for url in matches:
                if url.endswith(SUFFIX):
                    self._file(Path(url))
                else:
                    self._remote_folder(RemoteFolder(url))
        elif place.url.endswith(SUFFIX) or place.is_file():
            self.named += 1
            self._file(Path(place.url))
        else:
            self._remote_folder(place)

    def _remote_folder(self, place: RemoteFolder) -> None:
        records = sorted((Path(url) for url in place.files() if url.endswith(SUFFIX)), key=segment_order)
        folder = Path(place.url)
        if not records:
            inside = [Path(url).name for url in place.folders()][:5]
            hint = (
                f"it has folders: {', '.join(inside)}; pass one of them, or '{place.url}/*'" if inside else "check it"
            )
            self.passed_over.append(PassedOver(folder, f"nothing at this URL ends in {SUFFIX}; {hint}"))
        self.folders.append(folder)
        for file in records:
            self._file(file)

    def _file(self, path: Path) -> None:
        self.files.setdefault(url_of(path) or os.path.realpath(path), path)

    def nothing(self, paths: list[RecordPath]) -> NotARecordError:
        if len(paths) == 1 and len(self.passed_over) == 1:
            path, reason = self.passed_over[0]
            return NotARecordError(reason, path=url_of(path) or str(path))
        return nothing_to_read(self.passed_over)
