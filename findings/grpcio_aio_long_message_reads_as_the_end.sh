#!/usr/bin/env bash
# grpcio 1.85.3: a server of grpc.aio reads a message beyond its limit as the end of the stream, like a half-close.
#
# The client is told RESOURCE_EXHAUSTED. The handler's `read()` returns EOF, with `cancelled()` and `done()` False, and a
# moment later the handler is cancelled: for what it knows, the client has said all and gone. Nothing is logged.
#
# For users of esper-telemetry: a collector's limit inside gRPC is twice what it grants, so that what is too long by less
# is refused by the collector, with a reason and a count.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet grpcio==1.85.3
cat > "$work/long.py" <<'PROGRAM'
import asyncio
import sys

import grpc
from grpc import aio

seen = []


async def serve(requests, context):
    while True:
        message = await context.read()
        if message is aio.EOF:
            seen.append(f"EOF, cancelled {context.cancelled()}, done {context.done()}")
            return
        seen.append(f"{len(message)} bytes")


async def main():
    server = aio.server(options=[("grpc.max_receive_message_length", 1000)])
    handler = grpc.stream_stream_rpc_method_handler(serve)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Stream", {"All": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    for sizes in ((10, 5000), (10,)):
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.stream_stream("/test.Stream/All")()
            for size in sizes:
                await call.write(b"x" * size)
            if len(sizes) == 1:
                await call.done_writing()
            seen.append((await call.code()).name)
    await server.stop(None)


asyncio.run(main())
print(f"grpcio {grpc.__version__}: too long: {seen[:3]}; half-close: {seen[3:]}")
end = "EOF, cancelled False, done False"
sys.exit(sorted(seen) != sorted(["10 bytes", end, "RESOURCE_EXHAUSTED", "10 bytes", end, "OK"]) and "changed")
PROGRAM
"$work/venv/bin/python" "$work/long.py"
