"""The command line `esper-telemetry`: one file for each verb. Data goes to stdout, words to stderr.

Exit codes: 0 fine, 1 failed, 2 usage, 3 worked but data is damaged, missing or was
dropped, 4 a check found a problem. click and rich are imported below this folder only.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

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
    return run(arguments)
