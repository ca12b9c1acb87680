"""Two readers written apart, the library and the one-file decoder, hold a thousand damaged records against each other.

Whatever is done to a file, the one-file decoder gives a beginning of the original lines and then stops with a reason,
and where it gives everything without a word, so does the library.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import esper_telemetry
from esper_telemetry import RecordOptions, read
from esper_telemetry.decode import json_line
from esper_telemetry.errors import RecordError
from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.compaction import compact_file
from esper_telemetry.recordfile.frame_events import parse_envelopes
from esper_telemetry.schema.event_block import Field, encode_block, encode_column
from esper_telemetry.v1 import training_pb2
from tests.esper_telemetry.schema.test_event_block import VALUES

TOOL = Path(__file__).parents[2] / "tools" / "decode_records.py"
CASES = 1_000
SEED = int(os.environ.get("ESPER_SEED", "20261122"))


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("decode_records", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["as written", "compacted"])
def original(request, tmp_path_factory) -> bytes:
    options = RecordOptions(compact=False)
    with esper_telemetry.start_run(tmp_path_factory.mktemp("runs"), name="x", run_id="x", record=options) as run:
        for number in range(60):
            run.bind(env_id=number % 3).emit(training_pb2.ScalarLogged, name="n", value=number**0.5)
            if number % 10 == 9:
                run.flush()
    (path,) = run.folder.iterdir()
    if request.param == "compacted":
        compact_file(path, force=True)
    return path.read_bytes()


def by_tool(tool, path):
    """Return the lines of the one-file decoder, and whether it had anything to say besides."""
    tool.WARNINGS.clear()
    lines = []
    try:
        for _, _, shown in tool.merged([str(path)]):
            lines.append(json.dumps(shown, ensure_ascii=False, separators=(",", ":")))
    except ValueError:
        return lines, True
    return lines, bool(tool.WARNINGS)


def by_library(path):
    """Return the lines of the library, and its warnings."""
    try:
        records = read(path, strict=False)
        lines = [json_line(event) for event in records]
    except RecordError as error:
        return [], [str(error)]
    return lines, [*records.warnings, *records.unknown]


def closed(path) -> bool:
    with RecordReader(path) as reader:
        return reader.closed


def change(data: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(data)), rng.randrange(1, 200)
    kind = rng.randrange(6)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    if kind == 2:
        return data[:at] + bytes(size) + data[at + size :]
    if kind == 3:
        return data[:at] + data[at + size :]
    if kind == 4:
        return data[:at] + rng.randbytes(size) + data[at:]
    other = rng.randrange(len(data))
    return data[:at] + data[other : other + size] + data[at:]


@pytest.mark.parametrize("cases", [CASES // 5, pytest.param(CASES, marks=pytest.mark.slow)])
def test_both_give_nothing_that_was_not_written_and_agree_where_nothing_is_wrong(
    tool, original, tmp_path, capsys, cases
):
    path = tmp_path / "record.esr.zst"
    path.write_bytes(original)
    whole, said = by_tool(tool, path)
    assert by_library(path) == (whole, [])
    assert (len(whole), said) == (62, False)
    rng = random.Random(SEED)
    silent = 0
    for case in range(cases):
        path.write_bytes(change(original, rng))
        lines, said = by_tool(tool, path)
        found, told = by_library(path)
        if told:  # a header was lost: events of its types are there, and what they are is unknown
            found = [line for line in found if not line.startswith('{"type":"type:')]
        # What ends behind a whole frame may be a record that is still written: the decoder has nothing to say, and
        # the library that nobody writes it.
        growing = not said and not closed(path)
        assert lines == whole[: len(lines)], case
        assert set(found) <= set(whole), case
        # A frame that the damage copied to an earlier place is met there first; the reader gives it, and warns.
        reordered = any("repeated or reordered" in warning for warning in told)
        assert reordered or found == sorted(found, key=whole.index), case
        assert len(found) == len(set(found)), case
        assert told or found == whole or growing, case
        assert said or lines == whole or growing, case
        silent += not said and not told
        capsys.readouterr()
    assert silent < cases // 4, "most changes were to be noticed"


@st.composite
def frame(draw):
    """Return the columns of a block: the types of its fields, and the values of each."""
    count = draw(st.integers(1, 20))
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=6))
    return kinds, [
        draw(st.lists(VALUES[kind], min_size=count, max_size=count)) if draw(st.booleans())
        else [draw(VALUES[kind])] * count
        for kind in kinds
    ]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frame(), frame())
def test_both_make_the_same_envelopes_of_a_block(tool, one, other):
    elements = []
    for first, (kinds, columns) in enumerate((one, other)):
        seqs = [3 * at + first + 1 for at in range(len(columns[0]))]
        encoded = list(map(encode_column, map(Field, range(1, len(kinds) + 1), kinds), columns))
        times = [1_700_000_000_000_000_000 - seq**5 for seq in seqs]
        elements.append(encode_block(first + 1, seqs, times, encoded[:1], encoded))
    raw = b"".join(reversed(elements))
    found = tool.events_of(tool.MESSAGES["RecordFile"].FromString(raw))
    stated = [(e.type_id, e.seq, e.time_unix_nano, e.context, e.payload) for e in found]
    assert stated == [(e.type_id, e.seq, e.time_unix_nano, e.context, e.payload) for e in parse_envelopes(raw)]
