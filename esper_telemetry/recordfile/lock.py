"""The lock a writer holds on its segment: a segment without footer and without lock has lost its writer.

Advisory (flock), gone when the process dies. Where the system or the file system has no
locks, no writer is reported as gone.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# A process that asks for the lock holds it for microseconds: a writer that meets one tries again.
_TRIES, _PAUSE_S = 20, 0.0005


def lock_exclusive(fd: int) -> None:
    """Take the writer's lock; a file system without locks is no reason to fail."""
    if fcntl is None:
        return
    for _ in range(_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        except OSError:
            return
        else:
            return


def try_lock(fd: int) -> bool:
    """Take the lock of an open file for as long as it is open; False if another process has it."""
    if fcntl is not None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system without locks
    return True


def is_locked(path: Path) -> bool:
    """Tell whether a process holds the writer's lock on `path`; False where that is unknown.

    Raises:
        OSError: the file cannot be opened.
    """
    return _locked(path) is True


def unlock(fd: int) -> None:
    """Release the lock, also where a process that was forked meanwhile still holds the open file."""
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)


def writer_gone(path: Path) -> bool:
    """Tell whether no process holds the writer's lock on `path`; False where locks do not work.

    Raises:
        OSError: the file cannot be opened.
    """
    return _locked(path) is False


def _locked(path: Path) -> bool | None:
    """Tell whether a process holds the writer's lock on `path`; None where locks do not work."""
    if fcntl is None:
        return None
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe waits for its other end
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    else:
        return False
    finally:
        os.close(fd)
