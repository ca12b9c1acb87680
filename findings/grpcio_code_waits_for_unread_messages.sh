#!/usr/bin/env bash
# grpcio 1.85.1: the status of a stream is told only after every message before it was read, however long ago it ended.
#
# `call.code()` of a blocking client waits for the end of the call. A server that sent two messages and ended has ended
# for itself, but a client that read one message and asks for the code waits until its deadline, and is then told
# DEADLINE_EXCEEDED though the server said OK. Read the stream to its end first.
#
# For users of esper-telemetry: a client of a collector reads acks until the stream ends before it looks at the status.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet grpcio==1.85.1
cat > "$work/wait.py" <<'PROGRAM'
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc


def two(request, context):
    yield b"one"
    yield b"two"


server = grpc.server(ThreadPoolExecutor(2))
handler = grpc.unary_stream_rpc_method_handler(two)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Stream", {"Two": handler}),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
seen = []
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    for reads in (1, 3):
        call = channel.unary_stream("/test.Stream/Two")(b"", timeout=3)
        for _ in range(reads):
            next(call, None)
        seen.append(call.code().name)
server.stop(None)
print(f"grpcio {grpc.__version__}: one of two messages read: {seen[0]}; all read: {seen[1]}")
sys.exit(seen != ["DEADLINE_EXCEEDED", "OK"] and "changed")
PROGRAM
"$work/venv/bin/python" "$work/wait.py"
