from esper_telemetry.sinks import BatchDecoder


def test_types_are_kept_from_the_batch_that_declares_them(stream):
    decoder = BatchDecoder()
    first = decoder.decode(stream.batch(2, size=3, new_types=stream.types))
    assert [(event.seq, event.name, event.data) for event in first] == [
        (seq, "scalar.logged", {"name": "xxx", "value": 1.5}) for seq in (1, 2)
    ]
    assert [event.time_unix_nano - stream.start for event in decoder.decode(stream.batch(2))] == [3000, 4000]
