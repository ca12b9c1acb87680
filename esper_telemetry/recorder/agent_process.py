"""Starts the agent that sends a run's frames to a collector: another process, which outlives this one.

Exec'd and never forked in Python, with a session of its own and no file of the trainer but the log: a signal to the
trainer's group does not reach it, and it holds no device open. Nothing of it is imported here; above all no grpc.
Whatever goes wrong, the record on disk is complete and can be pushed later.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.wire import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.recorder.options import StreamOptions

_log = logging.getLogger("esper_telemetry")

LOG_NAME = "agent.log"
# The agent finds this package where this process found it, but looks at its own installation first.
_BOOTSTRAP = (
    "import sys; sys.path.append(sys.argv.pop(1)); from esper_telemetry.uplink.__main__ import main; sys.exit(main())"
)


def spool_folder() -> Path:
    """Return the folder of runs that are not kept here: one for each user, closed to others."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"esper-telemetry-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != user):
        return Path(tempfile.mkdtemp(prefix="esper-telemetry-"))  # the name was taken by another user
    return folder


def start_agent(
    folder: Path, address: str, stream: StreamOptions, *, temporary: bool, compact: bool = False
) -> int | None:
    """Start the agent of a run folder; return its process id, or None (and log that) if that fails.

    Args:
        folder: the run folder; its first segment is there.
        address: of the collector.
        stream: how to send.
        temporary: remove the folder once everything is durable at the collector.
        compact: rewrite the segments into full frames once everything is durable.
    """
    reap_agents()
    try:
        command = agent_command(folder, address, stream, temporary=temporary, compact=compact)
        if not command[0]:
            raise FileNotFoundError("this Python does not know its own executable")
        with (folder / LOG_NAME).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own module
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                close_fds=True,
            )
    except OSError as error:
        _log.warning("no agent sends %s: %s; send it later: esper-telemetry push %s %s", folder, error, folder, address)
        return None
    process.returncode = 0  # Popen need not warn that it outlives us
    _agents.append((os.getpid(), process.pid))
    return process.pid


# Who started it, and its process id: a fork child has no right to wait for it.
_agents: list[tuple[int, int]] = []


def reap_agents() -> None:
    """Take back the process ids of agents that have ended; it never waits."""
    for agent in list(_agents):
        parent, pid = agent
        with contextlib.suppress(ChildProcessError):
            if parent == os.getpid() and os.waitpid(pid, os.WNOHANG) == (0, 0):
                continue  # at work
        with contextlib.suppress(ValueError):  # another thread was faster
            _agents.remove(agent)


def agent_command(
    folder: Path, address: str, stream: StreamOptions, *, temporary: bool, compact: bool = False
) -> Sequence[str]:
    """Return the command line of the agent."""
    command = [sys.executable or "", "-P", "-c", _BOOTSTRAP, str(Path(__file__).resolve().parents[2])]
    for name in CREDENTIALS:
        value, option = getattr(stream, name), f"--{name.replace('_', '-')}"
        if value is True:
            command.append(option)
        elif value:
            command += [option, str(Path(value).resolve())]
    command += ["--remove"] if temporary or not stream.keep_local else []
    command += ["--temporary"] if temporary else []
    command += ["--compact"] if compact else []
    return [*command, "--give-up-after", str(stream.give_up_after), str(folder.resolve()), address]
