"""docs/log.md is run as it is written, on each nats-server of this machine: TLS, a user, a server that is killed.

Only the ports are others, so that two tests can run at once.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.esper_telemetry.jetstream.natscluster import PROGRAMS, free_ports
from tests.test_readme import ROOT, blocks, save_file

PAGE = "docs/log.md"


def script_of(folder: Path) -> str:
    """Write the page's files into a folder; return its programs, one after another."""
    ports = dict(zip(("4221", "4222", "4223", "6221", "6222", "6223", "7575"), map(str, free_ports(7)), strict=True))

    def moved(text: str) -> str:
        for each in ("PORT=422$n ROUTES=622$n", "PORT=4221 ROUTES=6221"):
            text = text.replace(each, each.replace("422", "${P422").replace("622", "${P622"))
        text = re.sub(r"\$\{P(\d+)(\$n|1)", r"$(printenv P\1\2)", text)
        return re.sub(r"\b(422[123]|622[123]|7575)\b", lambda found: ports[found[1]], text)

    parts = ["set -eo pipefail", *(f"export P{name}={port}" for name, port in ports.items())]
    for number, block in enumerate(blocks(PAGE)):
        if block.language == "nats":
            save_file(moved(block.text), folder)
            (folder / "# log.conf").rename(folder / "log.conf")
        elif block.language == "python":
            (folder / f"part{number}.py").write_text(block.text)
            parts.append(f"{sys.executable} part{number}.py")
        elif block.language == "bash":
            parts.append(moved(block.text))
    return "\n".join(parts)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_the_page_works_as_it_is_written(tmp_path, program):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nats-server").symlink_to(program)
    folder = tmp_path / "page"
    folder.mkdir()
    path = os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::SyntaxWarning"}
    process = subprocess.Popen(
        ["bash", "-c", script_of(folder)], cwd=folder, env=environment, start_new_session=True,
        stdout=(tmp_path / "out").open("wb"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        code = process.wait(timeout=240)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    logs = "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
    assert code == 0, (tmp_path / "out").read_text() + logs
    for name in ("consumer-1", "consumer-2", "gateway"):
        text = (folder / f"{name}.log").read_text()
        assert text.splitlines()[-1].endswith("INFO stopped"), text
        assert "eof_received" not in text, "what a library says to itself"
    password = re.search('password = "(.+)"', (folder / "user.toml").read_text())
    assert password is not None
    assert password[1] not in logs, "no secret is logged"


def test_every_option_and_message_that_the_page_names_exists():
    text = (ROOT / PAGE).read_text()
    sources = "\n".join(path.read_text() for path in (ROOT / "esper_telemetry").rglob("*.py"))
    for option in set(re.findall(r"--log-[a-z-]+", text)):
        assert f'"{option}"' in sources, option
    for message in (
        "waiting for a server of the log at", "waiting for the log at", "JetStream has no leader", "not let in",
        "the server offers no TLS", "is JetStream on, with", "no consumer answers",
    ):  # fmt: skip
        assert message in text, message
        assert message in sources, message
