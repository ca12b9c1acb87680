"""The operator's page, block by block, as it stands: each command works, in the order of the page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "operators.md").read_text()
BLOCKS = [each for each in re.findall(r"(?m)^```sh\n(.*?)^```", PAGE, re.DOTALL) if not each.startswith("pip ")]


@pytest.fixture
def shell(tmp_path):
    """A function that runs a block in the page's folder, with this environment's programs in front."""
    missing = [name for name in ("openssl", "curl", "promtool") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed, and the page uses them")
    pytest.importorskip("obstore", reason="the page archives, which needs the extra s3")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    folder = tmp_path / "page"
    folder.mkdir()

    def run(block: str) -> str:
        command = ["bash", "-euo", "pipefail", "-c", block]
        with (tmp_path / "said").open("w+") as said:  # no pipe: what a block leaves running would keep it open
            ended = subprocess.run(
                command, cwd=folder, env=environment, stdout=said, stderr=said, check=False, timeout=120
            )
            said.seek(0)
            text = said.read()
        assert ended.returncode == 0, f"{block}\n{text}"
        return text

    run.folder = folder
    yield run
    pid = folder / "collector.pid"
    if pid.exists():
        subprocess.run(["bash", "-c", f"kill -KILL {pid.read_text()} 2>/dev/null || true"], check=False)


def test_every_block_of_the_page_works_as_written(shell):
    said = [shell(block) for block in BLOCKS]
    told = dict(zip((block.splitlines()[0] for block in BLOCKS), said, strict=True))
    assert "tokens: 1 tokens and 1 certificate names of 1 tenants" in said[2]
    assert 'log_level = "warning"  # environment' in said[3]
    assert "max_streams = 500  # command line" in said[3]
    assert "SERVING" in said[4]
    assert "vision-1" in told["cat > train.py <<'EOF'"]
    assert "a client speaks plaintext to this TLS port" in said[6]
    assert 'esper_collector_tenant_stored_runs{tenant="vision"}' in said[7]
    assert "alive" in said[7]
    assert "SUCCESS" in said[8]
    assert "the records hold the same events" in said[9]
    assert "vision-2" in said[10]
    assert "asks for a client's certificate and wants one" in said[10]
    assert "asks for a client's certificate and does not take tls.crt" in said[10]
    assert "archive: s3://bucket/runs does NOT ANSWER now (" in said[11]
    assert "failing: archive" in said[11]
    assert said[12].count("good") == len(list(shell.folder.glob("runs/*/*.esr.zst"))) >= 3
    for line in (shell.folder / "collector.log").read_text().splitlines():
        assert json.loads(line)["message"]


def test_what_the_page_quotes_of_the_deployment_files_is_there():
    from esper_telemetry import collector

    folder = Path(collector.__file__).parent / "deploy"
    named = re.findall(
        r"`([\w.-]+\.(?:service|toml|yaml|json))`|`(Containerfile)`", PAGE.partition("## 5")[0].partition("## 4")[2]
    )
    assert {first or second for first, second in named} <= {path.name for path in folder.iterdir()}
    critical = (
        (folder / "alerts.yaml").read_text().partition("name: esper-telemetry-consumer")[0].count("severity: critical")
    )
    assert critical == 5
