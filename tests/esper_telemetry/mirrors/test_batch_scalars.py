"""The numbers of a batch as a sink gets it: what is a measurement, under which name, and at which step."""

from __future__ import annotations

import esper_telemetry as et
from esper_telemetry import events
from esper_telemetry.mirrors.batch_scalars import ScalarReader
from esper_telemetry.v1 import steps_pb2


class Batches:
    def __init__(self) -> None:
        self.batches = []

    def write(self, batch) -> None:
        self.batches.append(batch)


def scalars_of(folder, fill) -> list:
    sink, reader = Batches(), ScalarReader()
    with et.start_run(folder, name="s", sinks=[sink]) as run:
        fill(run)
    return [(name, value, step) for batch in sink.batches for name, value, step, _ in reader.read(batch)]


def test_keys_texts_lists_and_nested_messages_are_no_scalars(tmp_path):
    def fill(run) -> None:
        run.bind(batch_idx=1).emit(
            events.HistogramSummarized, name="weights", edges=[0.0, 1.0], counts=[3], count=3, mean=0.5
        )
        run.bind(batch_idx=1).emit(events.PpoUpdateCompleted, skip_reason="none", heads=[{"head": "a", "entropy": 1}])

    found = scalars_of(tmp_path, fill)
    assert found == [("histogram.summarized/count", 3.0, 1), ("histogram.summarized/mean", 0.5, 1)]


def test_a_block_of_steps_and_the_run_s_own_events_are_no_scalars(tmp_path):
    def fill(run) -> None:
        columns = [{"field": "op", "indices": bytes([0, 1]), "labels": ["wait", "cull"], "numbers": [1, 3]}]
        block = steps_pb2.StepBlock(row_type="esper.v1.ActionTaken", steps=1, envs=2, columns=columns)
        run.bind(batch_idx=7, device="cpu").emit(block)

    assert scalars_of(tmp_path, fill) == []


def test_a_type_that_is_declared_later_is_read_too(tmp_path):
    def fill(run) -> None:
        run.emit(events.ScalarLogged, name="a", value=1.0, step=1)
        run.flush()
        run.bind(global_epoch=4).emit(events.EpochCompleted, val_loss=2.0)
        run.flush()
        run.emit(events.ScalarLogged, name="a", value=3.0)

    found = scalars_of(tmp_path, fill)
    assert found[:2] == [("a", 1.0, 1), ("epoch.completed/val_loss", 2.0, 4)]
    assert found[2][:2] == ("a", 3.0)  # at no step: its sequence number
