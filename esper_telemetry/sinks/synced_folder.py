"""The folder of a run's record files, and which names in it a power cut could still take.

Data are forced to the disk through the file; a name only through the folder that holds it, and the name of
a folder through the one above. It makes folders and remembers whose names are new; when they are
synced is for the sink to decide. It never looks into a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esper_telemetry.errors import SinkError
from esper_telemetry.recordfile.append import sync_folder

if TYPE_CHECKING:
    from pathlib import Path


class SyncedFolder:
    """The folder that a sink writes into.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unsynced: list[Path] = [path.parent]  # another rank may have made the folder, and died before its sync

    def make(self) -> None:
        """Make the folder and those above it, as far as they are missing.

        Raises:
            SinkError: it cannot be made.
        """
        missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{self.path}: cannot make the run folder: {error}; check path and permissions") from error
        for folder in missing:
            self._changed(folder.parent)

    def named(self) -> None:
        """Remember that a file was created in the folder."""
        self._changed(self.path)

    def sync(self) -> None:
        """Make every new name durable, from the top down.

        Raises:
            SinkError: the operating system refused; a later call tries again.
        """
        self._unsynced.sort(key=lambda folder: len(folder.parts))
        while self._unsynced:
            sync_folder(self._unsynced[0], required=False)
            del self._unsynced[0]

    def _changed(self, folder: Path) -> None:
        if folder not in self._unsynced:
            self._unsynced.append(folder)
