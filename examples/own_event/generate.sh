#!/bin/sh
# Compile the schema of this example: the event class, its types for editors, and the comments that readers show.
#
# Any protoc from 30 on will do; this one is the oldest, whose code loads on every protobuf from 6.30 to 7.x.
#   pip install esper-telemetry grpcio-tools==1.72.2
set -eu
cd "$(dirname "$0")"
python -m grpc_tools.protoc -I"$(python -m esper_telemetry.schema)" -I. \
    --python_out=. --pyi_out=. --include_source_info --descriptor_set_out=maze/v1/schema.binpb maze/v1/maze.proto
