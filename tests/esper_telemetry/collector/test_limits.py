from esper_telemetry.collector.limits import CollectorLimits


def test_the_longest_frame_and_the_longest_schema_fit_into_a_message():
    limits = CollectorLimits()
    assert limits.message_bytes > max(limits.frame_bytes, limits.schema_bytes)
    said = limits.to_proto()
    assert (said.frame_bytes, said.window_frames) == (960 * 1024 + 64, 64)
    assert limits.dead_s == 30
