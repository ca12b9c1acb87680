"""Print the include path for protoc: `protoc -I"$(python -m esper_telemetry.schema)" -I. --python_out=. beam.proto`."""

from esper_telemetry.schema.descriptors import proto_include

if __name__ == "__main__":
    print(proto_include())  # noqa: T201 - printing the path is what this module is for
