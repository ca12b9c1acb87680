"""The checksum of frames is zlib's, whoever computes it."""

from __future__ import annotations

import subprocess
import sys
import zlib

from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from esper_telemetry.recordfile import frame


@given(st.binary(max_size=5000), st.integers(0, 2**32 - 1))
def test_it_is_the_crc_of_zlib_from_any_start(data, start):
    assert frame.crc32(data) == zlib.crc32(data)
    assert frame.crc32(memoryview(data), start) == zlib.crc32(data, start)


def test_the_fast_one_is_taken_where_it_is_installed():
    assert frame.crc32 is isal_zlib.crc32


def test_zlib_serves_where_it_is_not():
    program = (
        "import sys, zlib; sys.modules['isal'] = None;"
        "from esper_telemetry.recordfile import frame; assert frame.crc32 is zlib.crc32"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
