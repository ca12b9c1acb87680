"""Handing over: whoever had a producer, and whatever was stored behind the watermark, every number counts once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.errors import CorruptRecordError
from esper_telemetry.jetstream.entries import SessionId
from esper_telemetry.jetstream.producer_state import ProducerState
from esper_telemetry.storage.naming import ProducerKey

KEY = ProducerKey("run", b"p" * 16)


def test_a_state_is_what_was_written_and_can_be_read_by_people():
    state = ProducerState(
        key=KEY, durable_seq=7, session=SessionId(3, 1 << 63), consumer="ab", generation=2, segment=4,
        file_id=b"f" * 16, handed_over={"cd": 5},
    )  # fmt: skip
    assert ProducerState.from_bytes(state.to_bytes()) == state
    assert json.loads(state.to_bytes())["durable_seq"] == 7
    assert ProducerState.from_bytes(state.to_bytes()[:-1] + b', "newer": 1}') == state


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"run_id": 1}', b"\xff"])
def test_something_else_is_told(data):
    with pytest.raises(CorruptRecordError, match="no state of a producer"):
        ProducerState.from_bytes(data)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=20
    )
)
def test_after_any_takeovers_and_cuts_every_number_up_to_the_watermark_is_in_one_folder(turns):
    """A turn: a consumer takes over, tells so many numbers, stores so many more untold, and perhaps starts again."""
    state, files = ProducerState(key=KEY), {name: [] for name in "abc"}

    def put_right(name) -> None:  # as a consumer does when it starts or lets go
        limit = state.limit_of(name)
        if limit is not None:
            files[name] = [number for number in files[name] if number <= limit]

    for generation, (name, told, untold, restarts) in enumerate(turns, 1):
        put_right(name)
        own = files[name][-1] if files[name] else 0
        state = state.taken_over(name, generation, own)
        files[name] += range(state.durable_seq + 1, state.durable_seq + told + untold + 1)
        state = ProducerState.from_bytes(
            ProducerState(
                key=KEY, durable_seq=state.durable_seq + told, consumer=name, generation=generation,
                handed_over=state.handed_over,
            ).to_bytes()
        )  # fmt: skip
        if restarts:
            put_right(name)
    for name in files:
        put_right(name)
    everything = sorted(number for numbers in files.values() for number in numbers)
    behind = [number for number in everything if number > state.durable_seq]
    assert everything == list(range(1, len(everything) + 1))
    assert set(behind) <= set(files.get(state.consumer, ())), "only who wrote last may have more than it told"
