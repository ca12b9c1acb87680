from __future__ import annotations

from esper_telemetry.recordfile import RecordReader
from esper_telemetry.recordfile.frame import FrameDecoder
from esper_telemetry.recordfile.keep import UNVERIFIED, Keep
from esper_telemetry.recordfile.salvage import salvage
from esper_telemetry.recordfile.source import BytesSource
from esper_telemetry.recordfile.walk import walk


def kept(data: bytes) -> Keep:
    source, decoder = BytesSource(data), FrameDecoder()
    keep = Keep(source, decoder)
    keep.add_all(salvage(source, decoder, walk(source)))
    return keep


def frames(keep: Keep) -> list:
    return [item.frame for context in keep.contexts for item in context.ordered() if item.frame is not None]


def test_everything_of_a_good_file_is_kept(records):
    keep = kept(records.bytes(frames=3, per_frame=10))
    assert [frame.desc.records for frame in frames(keep)] == [10, 10, 10]
    assert (keep.damage, keep.lost_bytes, keep.open_end) == ([], 0, False)


def test_frames_are_put_into_the_order_of_their_numbers(records):
    data = records.bytes(frames=3, per_frame=10, close=False)
    one, two, three = (data[f.offset : f.end] for f in RecordReader(data).frames())
    head = data[: data.index(one)]
    assert [frame.desc.first_seq for frame in frames(kept(head + three + one + two))] == [1, 11, 21]


def test_the_whole_events_of_a_cut_frame_are_kept_under_a_mark(records):
    data = records.bytes(frames=1, per_frame=900, types=records.types[:1], close=False)
    keep = kept(data[: len(data) - 3000])
    *_, last = frames(keep) or [None]
    assert keep.open_end
    if last is not None:
        assert last.mark is not None
        assert UNVERIFIED == "esper_telemetry.unverified"


def test_a_lost_end_is_known_from_the_index(records):
    data = bytearray(records.bytes(frames=3, per_frame=10))
    frame = list(RecordReader(bytes(data)).frames())[2]
    data[frame.offset : frame.end] = bytes(frame.end - frame.offset)
    keep = kept(bytes(data))
    assert keep.contexts[0].known_last_seq == 30
    assert not keep.open_end


def test_a_lost_end_without_an_index_stays_open(records):
    data = bytearray(records.bytes(frames=3, per_frame=10, close=False))
    frame = list(RecordReader(bytes(data)).frames())[2]
    data[frame.offset : frame.end] = bytes(frame.end - frame.offset)
    assert kept(bytes(data)).open_end


def test_garbage_that_cost_no_event_is_known_from_the_seek_table(records):
    data = bytearray(records.bytes(frames=3, per_frame=10))
    end = list(RecordReader(bytes(data)).frames())[2].end
    data[end : end + 30] = bytes(30)
    keep = kept(bytes(data))
    assert keep.damage
    assert not keep.open_end


def test_a_repeat_behind_the_damage_does_not_hide_that_the_end_is_lost(records):
    data = bytearray(records.bytes(frames=3, per_frame=10, close=False))
    _, second, third = RecordReader(bytes(data)).frames()
    data[third.offset : third.end] = bytes(third.end - third.offset)
    repeat = bytes(data[second.offset : second.end])
    assert kept(bytes(data) + repeat).open_end


def test_a_frame_in_the_place_of_the_last_one_is_found_out_by_an_index_without_its_seek_table(records):
    data = bytearray(records.bytes(frames=3, per_frame=10))
    first, _, third = RecordReader(bytes(data)).frames()
    data[third.offset : third.end] = data[first.offset : first.end]
    keep = kept(bytes(data[:-20]))
    assert keep.contexts[0].known_last_seq == 30


def test_a_repeat_at_an_end_without_a_footer_leaves_the_end_open(records):
    data = records.bytes(frames=3, per_frame=10, close=False)
    first, *_ = RecordReader(data).frames()
    assert kept(data + data[first.offset : first.end]).open_end
