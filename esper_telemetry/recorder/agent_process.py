"""Starts the agent that sends a run's frames to a collector: another process, which outlives this one.

Exec'd and never forked in Python, with a session of its own and no file of the trainer but the log: a signal to the
trainer's group does not reach it, and it holds no device open. Nothing of it is imported here; above all no grpc.
Whatever goes wrong, the record on disk is complete and can be pushed later.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from esper_telemetry.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.recorder.options import StreamOptions

_log = logging.getLogger("esper_telemetry")

LOG_NAME = "agent.log"
_ADDRESS = re.compile(r"unix:.+|(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):\d{1,5}")
# The agent finds this package where this process found it, but looks at its own installation first.
_BOOTSTRAP = (
    "import sys; sys.path.append(sys.argv.pop(1)); from esper_telemetry.uplink.__main__ import main; sys.exit(main())"
)


def check_collector(address: str) -> None:
    """Check that `address` can be a collector's.

    Raises:
        ConfigError: it is not "host:port", "[ipv6]:port" or "unix:path".
    """
    if _ADDRESS.fullmatch(address) is None:
        raise ConfigError(f"collector={address!r} is not host:port, such as localhost:7575, or unix:PATH")


def spool_folder() -> Path:
    """Return the folder of runs that are not kept here: one for each user, closed to others."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"esper-telemetry-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != user):
        return Path(tempfile.mkdtemp(prefix="esper-telemetry-"))  # somebody else was there first
    return folder


def start_agent(folder: Path, address: str, stream: StreamOptions, *, temporary: bool) -> int | None:
    """Start the agent of a run folder; return its process id, or None (and say so) if that fails.

    Args:
        folder: the run folder; its first segment is there.
        address: of the collector.
        stream: how to send.
        temporary: remove the folder once everything is durable at the collector.
    """
    try:
        command = agent_command(folder, address, stream, temporary=temporary)
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
    process.returncode = 0  # it is not waited for, and Popen need not warn that it outlives us
    return process.pid


def agent_command(folder: Path, address: str, stream: StreamOptions, *, temporary: bool) -> Sequence[str]:
    """Return the command line of the agent."""
    command = [sys.executable or "", "-P", "-c", _BOOTSTRAP, str(Path(__file__).resolve().parents[2])]
    for name in ("token_file", "tls_ca", "tls_cert", "tls_key"):
        value = getattr(stream, name)
        if value is not None:
            command += [f"--{name.replace('_', '-')}", str(Path(value).resolve())]
    command += ["--tls"] if stream.tls else []
    command += ["--remove"] if temporary or not stream.keep_local else []
    command += ["--temporary"] if temporary else []
    return [*command, "--give-up-after", str(stream.give_up_after), str(folder.resolve()), address]
