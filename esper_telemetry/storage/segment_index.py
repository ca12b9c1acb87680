"""The index of a collector's folder: which runs are in order, and what their sealed segments hold. An SQLite file.

It spares a start the reading of every file. It is a cache and never the truth: each row is compared with its file
before it is believed, so an index that is gone, torn, of another version or of another folder costs a reading of the
files and nothing else. A commit is not synced: a process that is killed loses none, and a power loss loses the last
ones, which the times of folders show.

A row changes with its file: a segment that was compacted in place (same name, same numbers, other bytes) has another
size and time, and its row is written again with the next `generation`. Any thread may call; calls wait for each other.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from esper_telemetry.storage.naming import ProducerKey

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable
    from pathlib import Path

INDEX_NAME = ".collector.index"
_BESIDE = ("", "-wal", "-shm", "-journal")
_VERSION = 2
_MOST_RENEWALS = 2
_TABLES = """
CREATE TABLE runs (
    folder TEXT PRIMARY KEY,
    settled_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE segments (
    folder TEXT NOT NULL, name TEXT NOT NULL, producer_id BLOB NOT NULL, segment INTEGER NOT NULL,
    first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, file_id BLOB NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, generation INTEGER NOT NULL,
    PRIMARY KEY (folder, name)
) WITHOUT ROWID;
CREATE TABLE archived (
    folder TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, sha256 TEXT NOT NULL,
    PRIMARY KEY (folder, name)
) WITHOUT ROWID;
"""
# Beside them since later: an index without it is as good as one in which nothing waits.
_WAITING = """
CREATE TABLE IF NOT EXISTS waiting (
    number INTEGER PRIMARY KEY, folder TEXT NOT NULL, name TEXT NOT NULL, run_id TEXT NOT NULL,
    producer_id BLOB NOT NULL, UNIQUE (folder, name)
);
"""
# A row of `archived` counts as long as the file is the one that was sent.
_SENT = "archived USING (folder, name, size, mtime_ns, inode)"


class IndexedSegment(NamedTuple):
    """A sealed segment as it was when it was looked at.

    Attributes:
        name: of the file.
        producer_id: whose it is.
        segment: its number.
        first_seq: number after the last one before it.
        last_seq: last number in it, or before it.
        file_id: of its header.
        size: bytes.
        mtime_ns: when it was last written, wall clock.
        inode: which file it is.
        generation: how often its file was replaced by one with the same numbers, from 0.
    """

    name: str
    producer_id: bytes
    segment: int
    first_seq: int
    last_seq: int
    file_id: bytes
    size: int
    mtime_ns: int
    inode: int
    generation: int = 0

    def is_of(self, status: os.stat_result) -> bool:
        """Return whether a file is the one that was looked at, unchanged."""
        return (self.size, self.mtime_ns, self.inode) == (status.st_size, status.st_mtime_ns, status.st_ino)

    def holds_what(self, other: IndexedSegment) -> bool:
        """Return whether both hold the same numbers of the same producer, whatever their bytes."""
        return self[1:5] == other[1:5]


class SegmentJournal(Protocol):
    """Told what becomes of sealed segments, by those who write and delete them; from any thread."""

    def sealed(self, key: ProducerKey) -> None:
        """Take the news that a segment was sealed, or that sealed ones are not as they were."""

    def dropped(self, key: ProducerKey, names: list[str]) -> None:
        """Take the news that files are deleted now, or are found to be gone and reported."""

    def check_folder(self) -> None:
        """Raise SinkError where the folder of runs itself is not there: then no missing file was deleted."""

    def may_delete(self, key: ProducerKey, name: str) -> bool:
        """Return whether retention may delete a sealed segment here."""


class SegmentIndex:
    """The index below one folder, which its caller has locked.

    Args:
        root: folder of runs.

    Attributes:
        problem: why what was known is lost, or is not kept; empty if all is well. Taken by `take_problem`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / INDEX_NAME
        self._renewals = 0
        self._closed = False
        self._lock = threading.RLock()
        self.problem = ""
        self._db = self._open()

    def close(self) -> None:
        """Close it; what was committed stays, and calls that come later do nothing."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._closed = True
            self._db.close()

    def take_problem(self) -> str:
        """Return why it is empty now though it was not, once; empty if nothing happened."""
        with self._lock:
            problem, self.problem = self.problem, ""
            return problem

    # --- runs ---------------------------------------------------------------------------------------------------------

    def settled(self) -> dict[str, int]:
        """Return the time of each run's folder when all in it was sealed, synced and listed here; 0 if it is not."""
        return dict(self._rows("SELECT folder, settled_ns FROM runs"))

    def settled_at(self, folder: str) -> int:
        """Return the same of one run; 0 also where the run is not known."""
        rows = self._rows("SELECT settled_ns FROM runs WHERE folder = ?", folder)
        return int(rows[0][0]) if rows else 0

    def settle(self, folder: str, mtime_ns: int) -> None:
        """Record that all in a run is sealed, synced and listed here, unless it was deleted meanwhile.

        Args:
            folder: name of the run's folder.
            mtime_ns: time of the folder before it was listed; 0 records that something is missing yet.
        """
        with self._lock:
            if (self._root / folder).is_dir():
                self._change([("INSERT OR REPLACE INTO runs VALUES (?, ?)", [(folder, mtime_ns)])])

    def drop_run(self, folder: str) -> None:
        """Forget a run: before it is deleted, so that it is not taken for lost, and after it."""
        self._change(
            [
                ("DELETE FROM runs WHERE folder = ?", [(folder,)]),
                ("DELETE FROM segments WHERE folder = ?", [(folder,)]),
                ("DELETE FROM archived WHERE folder = ?", [(folder,)]),
                ("DELETE FROM waiting WHERE folder = ?", [(folder,)]),
            ]
        )

    # --- segments -----------------------------------------------------------------------------------------------------

    def segments(self, folder: str) -> dict[str, IndexedSegment]:
        """Return what is known of a run's segments, by file name."""
        columns = ", ".join(IndexedSegment._fields)
        rows = self._rows(f"SELECT {columns} FROM segments WHERE folder = ?", folder)  # noqa: S608 - our own columns
        return {row[0]: IndexedSegment(*row) for row in rows}

    def put(self, folder: str, segments: Iterable[IndexedSegment]) -> None:
        """Record segments of a run, in place of what was known under their names; what is deleted meanwhile is not."""
        marks = ", ".join("?" * (len(IndexedSegment._fields) + 1))
        statement = f"INSERT OR REPLACE INTO segments VALUES ({marks})"  # noqa: S608 - a row of question marks
        with self._lock:
            there = [(folder, *segment) for segment in segments if (self._root / folder / segment.name).exists()]
            if there:
                self._change([(statement, there)])

    def drop(self, folder: str, names: Iterable[str]) -> None:
        """Forget segments of a run: before they are deleted, so that they are not taken for lost, and after it."""
        keys = [(folder, name) for name in names]
        if keys:
            self._change(
                [
                    ("DELETE FROM segments WHERE folder = ? AND name = ?", keys),
                    ("DELETE FROM archived WHERE folder = ? AND name = ?", keys),
                ]
            )

    # --- what is in object storage ------------------------------------------------------------------------------------

    def not_archived(self, limit: int, without: Collection[str] = ()) -> dict[str, list[IndexedSegment]]:
        """Return segments that were not sent as they are now, by folder, at most `limit`.

        Args:
            limit: most segments.
            without: folders that are left out.
        """
        columns = ", ".join(IndexedSegment._fields)
        left_out = ", ".join("?" * len(without))
        rows = self._rows(
            f"SELECT folder, {columns} FROM segments LEFT JOIN {_SENT}"  # noqa: S608 - our own columns, question marks
            f" WHERE sha256 IS NULL AND folder NOT IN ({left_out}) LIMIT ?",
            *without,
            limit,
        )
        found: dict[str, list[IndexedSegment]] = {}
        for folder, *row in rows:
            found.setdefault(folder, []).append(IndexedSegment(*row))
        return found

    def count_not_archived(self, folder: str | None = None) -> int:
        """Return how many segments, of a run or of all, are not in object storage as they are now."""
        where, values = ("folder = ? AND", (folder,)) if folder is not None else ("", ())
        statement = f"SELECT count(*) FROM segments LEFT JOIN {_SENT} WHERE {where} ifnull(sha256, '') = ''"  # noqa: S608 - no value in it
        rows = self._rows(statement, *values)
        return int(rows[0][0]) if rows else 0

    def archive(self, folder: str, segments: Iterable[tuple[IndexedSegment, str]]) -> None:
        """Record segments that are in object storage, each with its SHA-256, hex; "" is one that it refuses."""
        rows = [(folder, one.name, one.size, one.mtime_ns, one.inode, sha256) for one, sha256 in segments]
        self._change([("INSERT OR REPLACE INTO archived VALUES (?, ?, ?, ?, ?, ?)", rows)])

    def is_archived(self, folder: str, name: str) -> bool:
        """Return whether a segment is in object storage as it is now."""
        statement = f"SELECT 1 FROM segments JOIN {_SENT} WHERE folder = ? AND name = ? AND sha256 != ''"  # noqa: S608 - no value in it
        return bool(self._rows(statement, folder, name))

    # --- what is to be compacted --------------------------------------------------------------------------------------

    def await_compaction(self, key: ProducerKey, folder: str, names: Iterable[str]) -> None:
        """Record sealed segments of a producer that nothing has tried to compact; what is there already stays."""
        rows = [(folder, name, *key) for name in names]
        if rows:
            self._change(
                [("INSERT OR IGNORE INTO waiting (folder, name, run_id, producer_id) VALUES (?, ?, ?, ?)", rows)]
            )

    def next_to_compact(self) -> tuple[ProducerKey, Path] | None:
        """Return the segment that waits for the longest time, with its producer; None where none does."""
        rows = self._rows("SELECT folder, name, run_id, producer_id FROM waiting ORDER BY number LIMIT 1")
        if not rows:
            return None
        folder, name, run_id, producer_id = rows[0]
        return ProducerKey(run_id, producer_id), self._root / folder / name

    def tried_to_compact(self, folder: str, name: str) -> None:
        """Record that a segment waits no more."""
        self._change([("DELETE FROM waiting WHERE folder = ? AND name = ?", [(folder, name)])])

    # --- the file -----------------------------------------------------------------------------------------------------

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            if self._closed:
                return []
            try:
                return self._db.execute(statement, values).fetchall()
            except (sqlite3.Error, OverflowError) as error:
                self._begin_anew(error)
                return []

    def _change(self, statements: list[tuple[str, list[tuple[Any, ...]]]]) -> None:
        with self._lock:
            if self._closed:
                return
            try:
                with self._db:
                    self._db.execute("BEGIN")
                    for statement, rows in statements:
                        self._db.executemany(statement, rows)
            except (sqlite3.Error, OverflowError) as error:
                self._begin_anew(error)

    def _open(self) -> sqlite3.Connection:
        try:
            db = self._connect(self._path)
        except sqlite3.Error as error:
            self.problem = f"{self._path} cannot be used: {error}"
            return self._make()
        return db

    def _begin_anew(self, error: Exception) -> None:
        """Replace an index that cannot be read or written by an empty one."""
        self.problem = f"{self._path} cannot be used: {error}"
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        self._db = self._make()

    def _make(self) -> sqlite3.Connection:
        """Return an empty index: a new file, or one in memory where the disk takes none or spoils it again."""
        self._renewals += 1
        try:
            if self._renewals > _MOST_RENEWALS:
                raise OSError("it was made anew before")  # noqa: TRY301 - as a disk that refuses
            for suffix in _BESIDE:
                self._path.with_name(INDEX_NAME + suffix).unlink(missing_ok=True)
            return self._connect(self._path)
        except (OSError, sqlite3.Error) as error:
            self.problem += f"; none can be made: {error}: it is kept in memory, and the next start reads all files"
            return self._connect(None)

    def _connect(self, path: Path | None) -> sqlite3.Connection:
        """Open a file, or memory; what is of another version is emptied.

        Raises:
            sqlite3.Error: it is no database, or is damaged, or cannot be opened.
        """
        is_new = path is None or not path.exists()
        db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        try:
            # One process has the folder, by its own lock: no shared memory is needed, which network disks do not have.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version != _VERSION:
                if not is_new:
                    raise sqlite3.DatabaseError(f"it has version {version}, not {_VERSION}")  # noqa: TRY301 - as damage
                db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
            db.execute(_WAITING)
            db.execute("SELECT count(*) FROM runs, (SELECT 1 FROM segments LIMIT 1)").fetchone()
        except BaseException:
            db.close()
            raise
        return db
