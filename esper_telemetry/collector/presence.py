"""Whether a file that was promised is where its name says, and still all of it.

An open descriptor proves nothing: the file behind it may have lost its name, or another one may have it. So the name is
looked up, and device, inode and size are compared. What is inside is not read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from esper_telemetry.errors import SinkError

if TYPE_CHECKING:
    from pathlib import Path


class Identity(NamedTuple):
    """Which file it is, whatever its name.

    Attributes:
        device, inode: as the operating system numbers them.
    """

    device: int
    inode: int

    @classmethod
    def of(cls, place: Path | int) -> Identity:
        """Return the identity of a file, by its path or descriptor.

        Raises:
            OSError: there is none.
        """
        found = os.fstat(place) if isinstance(place, int) else place.stat()
        return cls(found.st_dev, found.st_ino)


def absence(path: Path, identity: Identity, size: int) -> str:
    """Return what became of a file that should hold `size` bytes: "was removed", ...; empty if it is all there.

    Raises:
        SinkError: the operating system does not tell.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "was removed or moved away"
    except OSError as error:
        raise SinkError(f"{path}: cannot be looked up: {error}; check the disk and permissions") from error
    if (found.st_dev, found.st_ino) != identity:
        return "was replaced by another file"
    if found.st_size < size:
        return f"was cut to {found.st_size:,} of {size:,} bytes"
    return ""
