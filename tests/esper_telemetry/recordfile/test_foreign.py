from __future__ import annotations

import gzip
import json
import pickle

import pytest

from esper_telemetry.recordfile.reader import looks_like


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"", "it is empty"),
        (bytes(24), "it starts with zeros"),
        (gzip.compress(b"x", mtime=0), "it looks like a gzip file"),
        (pickle.dumps([1]), "it looks like a pickle"),
        (json.dumps({"loss": 1}).encode(), "it looks like JSON"),
        (b"step,loss\n1,2\n", "it looks like text"),
        (b"\x89MCAP0\r\n", "it looks like an MCAP file"),
        (b"\x01\x02\xff\xfe\x00\x00\x00\x00\x00", "it starts with 01 02 ff fe 00 00 00 00"),
    ],
)
def test_foreign_bytes_are_named_by_what_they_look_like(start, said):
    assert looks_like(start) == said
