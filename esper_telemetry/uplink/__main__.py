"""The agent's process: `python -m esper_telemetry.uplink RUN_FOLDER HOST:PORT`, started by a run with a collector.

It needs no click, and its words go to the folder's log. People use `esper-telemetry push`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.errors import TelemetryError
from esper_telemetry.uplink.delivery import GIVE_UP_S, PushOptions
from esper_telemetry.uplink.endpoint import Endpoint
from esper_telemetry.uplink.sender import follow, remove_spool
from esper_telemetry.wire import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Follow one run folder; the exit code is 0, or 1 if something was left for a later push."""
    parser = argparse.ArgumentParser(prog="esper_telemetry.uplink", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("address")
    for name in CREDENTIALS:
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true" if name == "tls" else "store")
    parser.add_argument("--remove", action="store_true", help="remove files that are durable at the collector")
    parser.add_argument("--temporary", action="store_true", help="remove the folder as well, when it is empty")
    parser.add_argument("--compact", action="store_true", help="rewrite files that are durable there into full frames")
    parser.add_argument("--give-up-after", type=float, default=GIVE_UP_S, metavar="SECONDS")
    args = parser.parse_args(argv)
    # Nothing is forked here, and the handlers of gRPC for it cost threads.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    try:
        endpoint = Endpoint(args.address, **{name: getattr(args, name) for name in CREDENTIALS})
        options = PushOptions(
            follow=True, keep_local=not args.remove, give_up_s=args.give_up_after, compact=args.compact
        )
        reports = follow(args.folder, endpoint, options, _log)
    except TelemetryError as error:
        _log(str(error))
        return 1
    if reports is None:
        return 0
    if args.temporary:
        remove_spool(args.folder)
    return 1 if any(report.error for report in reports) else 0


def _log(text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"{stamp} [{os.getpid()}] {text}", flush=True)  # noqa: T201 - into the log that the run opened


if __name__ == "__main__":
    sys.exit(main())
