"""A viewer gets every message once, in order, or a snapshot that holds what it missed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esper_telemetry.ui.ring import Cursor, Ring


def encode(value) -> bytes:
    return json.dumps(value).encode()


def filled(count: int) -> Ring:
    ring = Ring(encode, 0)
    for number in range(1, count + 1):
        ring.publish(encode(number), number)
    return ring


def seen(state: int, messages) -> int:
    """Take messages as a browser does: a snapshot replaces what is there, a change must follow it."""
    for message in messages:
        value = json.loads(message.body)
        if message.name == "changes":
            assert value == state + 1, "a message was left out or came twice"
        state = value
    return state


@given(st.lists(st.integers(0, 90), max_size=8))
def test_a_viewer_that_comes_and_goes_misses_nothing(bursts):
    ring = Ring(encode, 0)
    state, cursor, number = 0, None, 0
    for burst in bursts:
        for _ in range(burst):
            number += 1
            ring.publish(encode(number), number)
        messages = ring.after(cursor)
        state = seen(state, messages)
        cursor = messages[-1].cursor if messages else cursor
        assert state == number
        assert ring.after(cursor) == []


def test_a_new_viewer_begins_with_a_snapshot_also_before_the_first_message():
    assert [message.name for message in Ring(encode, 0).after(None)] == ["snapshot"]
    assert [message.name for message in filled(3).after(None)] == ["snapshot"]


def test_the_cursor_of_a_snapshot_before_the_first_message_leads_on_without_loss():
    ring = Ring(encode, 0)
    (first,) = ring.after(None)
    ring.publish(encode(1), 1)
    assert seen(0, ring.after(first.cursor)) == 1


def test_a_viewer_that_fell_out_of_the_ring_starts_over():
    ring = filled(500)
    (message,) = ring.after(Cursor(ring.epoch, 1))
    assert (message.name, json.loads(message.body), message.cursor.revision) == ("snapshot", 500, 500)


def test_the_cursor_of_another_server_is_worth_nothing():
    (message,) = filled(5).after(Cursor("deadbeef", 5))
    assert message.name == "snapshot"


def test_a_cursor_from_the_future_is_worth_nothing():
    ring = filled(2)
    (message,) = ring.after(Cursor(ring.epoch, 9))
    assert message.name == "snapshot"


def test_starting_over_makes_every_cursor_worthless():
    ring = filled(5)
    cursor = ring.after(None)[-1].cursor
    ring.publish(encode(1), 1, start_over=True)
    (message,) = ring.after(cursor)
    assert (message.name, json.loads(message.body)) == ("snapshot", 1)


def test_large_messages_push_out_old_ones_before_memory_grows():
    ring = Ring(encode, 0)
    for number in range(1, 40):
        ring.publish(b"x" * (1 << 20), number)
    held = ring.after(Cursor(ring.epoch, 38))
    assert len(held) == 1
    assert ring.after(Cursor(ring.epoch, 20))[0].name == "snapshot"


def test_listeners_are_woken_at_every_message_until_they_leave():
    ring = filled(0)
    woken = []
    listener = ring.listen(lambda: woken.append(ring.revision))
    ring.publish(b"1", 1)
    assert ring.viewers == 1
    ring.leave(listener)
    ring.publish(b"2", 2)
    assert woken == [1]
    assert ring.viewers == 0


@pytest.mark.parametrize("text", ["", "1", "a:", "a:-1", "a:b", "-", "a:²"])
def test_what_is_no_cursor_is_told_from_one(text):
    assert Cursor.parse(text) is None


def test_a_cursor_survives_being_a_text():
    assert Cursor.parse(str(Cursor("ab12", 7))) == Cursor("ab12", 7)
