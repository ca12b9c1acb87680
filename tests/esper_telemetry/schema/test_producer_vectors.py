"""The vectors beside the protos, which other people's producers are tried with, are what this code makes."""

from __future__ import annotations

import json
from pathlib import Path

from esper_telemetry.recordfile.layout import Descriptor, pack_descriptor
from esper_telemetry.schema.descriptors import proto_include
from esper_telemetry.schema.fingerprint import schema_fingerprint
from esper_telemetry.v1 import record_pb2

VECTORS = json.loads(Path(proto_include(), "esper_telemetry/v1/producer_vectors.json").read_text())


def test_fingerprints_are_those_of_the_protocol():
    for each in VECTORS["fingerprints"]:
        header = record_pb2.Header(types=[record_pb2.TypeEntry(**entry) for entry in each["types"]])
        header.file_descriptor_set = bytes.fromhex(each["file_descriptor_set"])
        assert schema_fingerprint(header).hex() == each["fingerprint"], each["name"]


def test_descriptors_of_frames_are_those_of_the_format():
    for each in VECTORS["descriptors"]:
        mask = 0
        for type_id in each["type_ids"]:
            mask |= 1 << min(type_id - 1, 31)
        sizes = (each["compressed"], each["raw"], each["records"], mask, each["first_seq"], each["last_seq"])
        packed = pack_descriptor(Descriptor(*sizes, int(each["min_time"]), int(each["max_time"])))
        assert packed.hex() == each["bytes"], each["name"]
