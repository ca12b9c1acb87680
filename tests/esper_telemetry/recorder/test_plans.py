"""What is known of types, contexts and calls: entries become groups, and nothing that a caller may change is kept."""

from __future__ import annotations

import gc
import weakref

from esper_telemetry import events, testing
from esper_telemetry.recorder.plans import NO_CONTEXT, NOWHERE, TypePlan
from esper_telemetry.schema.frame_builder import build_frame
from esper_telemetry.v1 import record_pb2

OFTEN = 20


def test_calls_of_every_order_and_kind_of_number_land_in_one_block():
    run, sink = testing.memory_run()
    for step in range(60):
        value = (float(step), step, True)[step % 3]
        if step % 2:
            run.emit(events.ScalarLogged, name="loss", value=value, step=step)
        else:
            run.emit(events.ScalarLogged, step=step, value=value, name="loss")
    run.close()
    found = [block for batch in sink.batches for block in record_pb2.RecordFile.FromString(batch.raw).block]
    assert [block.events for block in found] == [60]
    values = [event.data["value"] for event in testing.recorded(sink) if event.name == "scalar.logged"]
    assert values == [(float(step), float(step), 1.0)[step % 3] for step in range(60)]


def test_contexts_of_bind_and_of_calls_are_columns_of_one_block():
    run, sink = testing.memory_run()
    for step in range(60):
        if step % 2:
            run.bind(step=step, rank=1).emit(events.Throughput, fps=1.0)
        else:
            run.bind(rank=1).emit(events.Throughput, fps=1.0, step=step)
    run.close()
    found = [block for batch in sink.batches for block in record_pb2.RecordFile.FromString(batch.raw).block]
    assert [block.events for block in found] == [60]
    places = [event.data for event in testing.recorded(sink) if event.name == "perf.throughput"]
    assert places == [{"fps": 1.0, "step": step, "rank": 1} for step in range(60)]


def test_none_in_bind_and_in_a_call_unsets_what_is_bound():
    run, sink = testing.memory_run()
    for _ in range(60):
        bound = run.bind(step=1, rank=2)
        bound.bind(step=None).emit(events.Throughput, fps=1.0)
        bound.emit(events.Throughput, fps=1.0, rank=None)
    run.close()
    places = [event.data for event in testing.recorded(sink) if event.name == "perf.throughput"]
    assert places == [{"fps": 1.0, "rank": 2}, {"fps": 1.0, "step": 1}] * 60


def test_a_bound_context_of_any_depth_is_what_was_bound_last():
    run, sink = testing.memory_run()
    emitter = run
    for step in range(60):
        emitter = emitter.bind(step=step, device=f"cuda:{step % 2}").bind(rank=step)
        emitter.emit(events.Throughput, fps=1.0)
    run.close()
    places = [event.data for event in testing.recorded(sink) if event.name == "perf.throughput"]
    assert places == [{"fps": 1.0, "step": at, "rank": at, "device": f"cuda:{at % 2}"} for at in range(60)]


def test_contexts_of_the_same_names_are_one_block_whatever_of_them_was_bound_first():
    run, sink = testing.memory_run()
    expected = []
    for at in range(60):
        batch, step = run.bind(batch_idx=7, device="cpu"), run.bind(step=at, device="cuda:0")
        for emitter in (batch.bind(step=at), step.bind(batch_idx=at), run.bind(device="cpu", batch_idx=at, step=3)):
            emitter.emit(events.Throughput, fps=1.0)
            emitter.emit(events.Throughput, fps=2.0, step=at + 100)
        for where in ((7, at, "cpu"), (at, at, "cuda:0"), (at, 3, "cpu")):
            for fps, number in ((1.0, where[1]), (2.0, at + 100)):
                expected.append({"fps": fps, "batch_idx": where[0], "step": number, "device": where[2]})
    run.close()
    found = [block for batch in sink.batches for block in record_pb2.RecordFile.FromString(batch.raw).block]
    assert [block.events for block in found] == [360]
    assert [event.data for event in testing.recorded(sink) if event.name == "perf.throughput"] == expected


def test_a_step_adds_its_column_alone_to_what_is_bound():
    run, sink = testing.memory_run()
    bound = run.bind(batch_idx=7, device="cpu")
    for step in range(60):
        bound.bind(step=step).emit(events.Throughput, fps=1.0)
    run.close()
    (block,) = [block for batch in sink.batches for block in record_pb2.RecordFile.FromString(batch.raw).block]
    assert sorted(len(one.int_steps) for one in block.context) == [0, 0, 59]
    places = [event.data for event in testing.recorded(sink) if event.name == "perf.throughput"]
    assert places == [{"fps": 1.0, "step": step, "batch_idx": 7, "device": "cpu"} for step in range(60)]


def test_what_a_loop_binds_anew_at_each_step_keeps_nothing_of_the_steps_before():
    run, _ = testing.memory_run()
    emitter = run
    for step in range(60):
        before, emitter = weakref.ref(emitter), emitter.bind(step=step)
    below, depth = emitter._where, 0
    while below is not None:
        below, depth = below[0], depth + 1
    assert before() is None
    assert depth <= 2
    run.close()


def test_the_garbage_collector_follows_nothing_of_events_that_wait():
    run, _ = testing.memory_run()
    bound = run.bind(batch_idx=7, device="cpu")
    for step in range(OFTEN):
        bound.bind(step=step).emit(events.Throughput, fps=1.0)
    gc.collect()
    kept = [bound.bind(step=OFTEN)._where for _ in range(5)]
    gc.collect()
    assert not any(map(gc.is_tracked, kept))
    run.close()


def test_what_is_wrong_is_refused_after_many_calls_as_at_the_first():
    run, _ = testing.memory_run(strict=False)
    for step in range(OFTEN):
        run.bind(step=step).emit(events.Throughput, fps=1.0)
    run.bind(step=-1).emit(events.Throughput, fps=1.0)
    run.bind(step=2**64).emit(events.Throughput, fps=1.0)
    run.bind(step=0.5).emit(events.Throughput, fps=1.0)
    run.bind(setp=5).emit(events.Throughput, fps=1.0)
    run.bind(7, step=5).emit(events.Throughput, fps=1.0)
    run.emit(events.Throughput, 7, fps=1.0)
    run.emit(events.Throughput, fsp=1.0)
    run.close()
    assert run.stats().drops == {("esper_telemetry.v1.Throughput", "invalid"): 7}


def test_an_entry_of_a_message_is_the_message():
    run, _ = testing.memory_run()
    message = events.ScalarLogged(name="x", value=0.5)
    kind, where, row, extra = run._core.entry_of(message)
    assert (where, extra) == (NOWHERE, 1)
    raw = build_frame([kind.group([5], [7], [where], [row])]).raw
    (event,) = record_pb2.RecordFile.FromString(raw).event
    assert events.ScalarLogged.FromString(event.payload) == message
    run.close()


def test_a_kind_is_made_once_for_each_shape():
    run, _ = testing.memory_run()
    known = run._core.known(events.ScalarLogged)
    plan = TypePlan(known, NO_CONTEXT)
    shape = known.shapes.of_message(events.ScalarLogged(name="x")).shape
    assert plan.kind(shape) is plan.kind(shape)
    assert plan.calls == {}
    assert plan.use(shape) is plan.calls[1]
    run.close()
