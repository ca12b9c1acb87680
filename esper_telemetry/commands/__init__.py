"""The command line `esper-telemetry`: one file for each verb. Data goes to stdout, words to stderr.

Exit codes: 0 fine, 1 failed, 2 usage, 3 worked but data is damaged, missing or was
dropped, 4 a check found a problem. click and rich are imported below this folder only.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

from esper_telemetry.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: what stands behind the program's name; None takes them from the process.
    """
    try:
        from esper_telemetry.commands.group import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("click", "rich"):
            raise
        missing = MissingExtraError(f"the package {error.name!r}, which the command line needs,", "cli")
        print(f"error: {missing}", file=sys.stderr)
        return 1
    code = run(arguments)
    if arguments is None and "obstore" in sys.modules:
        _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """End the process without taking the interpreter apart.

    One of some hundred `cat s3://...` was ended by SIGABRT with all its output written (obstore 0.12, CPython 3.11).
    Not proved: a thread of obstore that outlives its last answer asks for Python while the interpreter ends.
    """
    # What the interpreter does first: threads that must be waited for, then exit hooks.
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - it has no public name
    atexit._run_exitfuncs()  # noqa: SLF001 - the same
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # the reader has gone
        code = code or 1
    os._exit(code)
