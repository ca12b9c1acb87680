"""What is exported is read back by its own ecosystem's reader and equals what `read` gives, or its loss is named."""

from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path

import pytest

import esper_telemetry as et
from esper.v1 import seed_pb2, trainer_pb2
from esper_telemetry.exports import export, import_runs
from esper_telemetry.exports.mcapfile import NAME as MCAP_FILE
from esper_telemetry.exports.otlp import NAME as LOGS
from esper_telemetry.exports.perfettotrace import NAME as TRACE
from esper_telemetry.exports.tensorboard import scalars

pytestmark = pytest.mark.integrations

BIG = 2**64 - 1
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a run with phases, seeds, scalars, NaN, and a number that few formats hold."""
    runs = tmp_path_factory.mktemp("runs")
    with et.start_run(runs, name="r", run_id="a", schemas=[seed_pb2, trainer_pb2]) as run:
        where = run.bind(env_id=1, device="cpu", inner_epoch=2, global_epoch=3)
        for step, value in enumerate([0.1, math.nan, 1e300]):
            run.emit(et.events.ScalarLogged, name="train/loss", value=value, step=step)
        where.emit(et.events.EpochCompleted, train_loss=0.1, val_accuracy=0.0)
        seed = {"slot_id": "mid", "seed_id": "s", "blueprint_id": "norm"}
        where.emit(seed_pb2.SeedGerminated, **seed, params=7)
        for before, after in (("DORMANT", "GERMINATED"), ("GERMINATED", "TRAINING"), ("TRAINING", "CULLED")):
            stages = {"from_stage": f"SEED_STAGE_{before}", "to_stage": f"SEED_STAGE_{after}"}
            where.emit(seed_pb2.SeedStageChanged, **seed, **stages)
        where.emit(seed_pb2.SeedCulled, **seed, reason="policy", alpha=0.25)
        for phase in ("epoch/rollout", "epoch"):
            run.emit(et.events.PhaseTimed, phase=phase, duration_ms=5.0)
        run.bind(batch_idx=1).emit(et.events.ActionDistribution, head="op", action_counts={"wait": 3}, total=BIG)
    return run.folder


@pytest.fixture(scope="module")
def events(folder):
    return list(et.read(folder))


def test_mcap_holds_every_event_with_its_context(folder, events, tmp_path):
    reader = pytest.importorskip("mcap.reader")
    decoder = pytest.importorskip("mcap_protobuf.decoder")
    report = export(folder, tmp_path, "mcap")
    assert report.lost == {}
    payloads, contexts = [], {}
    with (tmp_path / MCAP_FILE).open("rb") as file:
        for _, channel, message, decoded in reader.make_reader(
            file, validate_crcs=True, decoder_factories=[decoder.DecoderFactory()]
        ).iter_decoded_messages():
            if channel.topic.endswith("/context"):
                contexts[message.sequence] = decoded.SerializeToString()
            else:
                payloads.append((channel.topic, message.log_time, message.sequence, message.data, decoded))
                assert channel.metadata == {"run": "a", "stream": "main", "rank": "0", "attempt": "1"}
    expected = [(e.type, e.time_unix_nano, e.seq, e.payload) for e in events]
    assert sorted(row[:4] for row in payloads) == sorted(expected)
    assert contexts == {e.seq: e.context.SerializeToString() for e in events if e.context.ByteSize()}
    culled = next(decoded for topic, *_, decoded in payloads if topic == "seed.culled")
    assert (culled.slot_id, culled.alpha) == ("mid", 0.25)


def test_tensorboard_reads_scalars_as_doubles_and_an_import_makes_a_run_of_them(folder, tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    util = pytest.importorskip("tensorboard.util.tensor_util")
    report = export(folder, tmp_path / "tb", "tensorboard")
    assert report.lost["seed.culled.reason"] == "an identifier is no scalar"
    assert report.lost["seed.stage_changed.to_stage"] == "only numbers are scalars"
    assert "context.device" in report.lost
    assert report.lost["policy.action_distribution.total"].startswith("a double holds")
    accumulator = loader.EventAccumulator(str(tmp_path / "tb" / "a"), size_guidance={"tensors": 0})
    accumulator.Reload()
    tags = set(accumulator.Tags()["tensors"])
    assert {"train/loss", "epoch.completed/val_accuracy/env1", "policy.action_distribution/action_counts/wait"} <= set(
        tags
    )
    found = [(one.step, util.make_ndarray(one.tensor_proto).item()) for one in accumulator.Tensors("train/loss")]
    assert str(found) == "[(0, 0.1), (1, nan), (2, 1e+300)]", "a float of 32 bits has none of these"
    assert [one.step for one in accumulator.Tensors("epoch.completed/val_accuracy/env1")] == [3]
    assert tags == {tag for event in et.read(folder) for tag, _ in scalars(event, {})}
    imported = import_runs("tensorboard", [tmp_path / "tb"], tmp_path / "runs")
    values = [
        e.data["value"] for e in et.read(imported.runs[0], types="scalar.logged") if e.data["name"] == "train/loss"
    ]
    assert str(values) == "[0.1, nan, 1e+300]"


def test_perfetto_shows_phases_in_one_another_and_the_stages_of_seeds(folder, events, tmp_path):
    protos = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    report = export(folder, tmp_path, "perfetto")
    assert set(report.lost) == {"scalar.logged", "epoch.completed", "policy.action_distribution"}
    trace = protos.Trace.FromString((tmp_path / TRACE).read_bytes())
    tracks = {p.track_descriptor.uuid: p.track_descriptor.name for p in trace.packet if p.HasField("track_descriptor")}
    kinds = protos.TrackEvent
    open_slices, slices, instants = {}, [], []
    for packet in trace.packet:
        if packet.HasField("track_event"):
            event, track = packet.track_event, tracks[packet.track_event.track_uuid]
            if event.type == kinds.TYPE_SLICE_BEGIN:
                open_slices.setdefault(track, []).append((event.name, packet.timestamp))
            elif event.type == kinds.TYPE_SLICE_END:
                name, begin = open_slices[track].pop()
                slices.append((track, name, begin, packet.timestamp))
            else:
                instants.append((event.name, packet.timestamp))
    assert not any(open_slices.values())
    hops = [e.time_unix_nano for e in events if e.type == "seed.stage_changed"]
    stages = [one for one in slices if one[0] == "env 1 mid"]
    assert [one[1:3] for one in stages] == [("GERMINATED", hops[0]), ("TRAINING", hops[1]), ("CULLED", hops[2])]
    assert stages[0][3] == hops[1]
    phases = {e.data["phase"]: e.time_unix_nano for e in events if e.type == "phase.timed"}
    assert ("phases", "epoch", phases["epoch"] - 5_000_000, phases["epoch"]) in slices
    assert ("phases 2", "epoch/rollout", phases["epoch/rollout"] - 5_000_000, phases["epoch/rollout"]) in slices
    assert ("seed.culled", next(e.time_unix_nano for e in events if e.type == "seed.culled")) in instants


def test_otlp_holds_every_event_as_a_log_record(folder, events, tmp_path):
    logs = pytest.importorskip("opentelemetry.proto.logs.v1.logs_pb2")
    json_format = pytest.importorskip("google.protobuf.json_format")
    report = export(folder, tmp_path, "otlp")
    assert list(report.lost) == ["policy.action_distribution.total"]
    records = []
    for line in (tmp_path / LOGS).read_text().splitlines():
        for resource in json_format.Parse(line, logs.LogsData()).resource_logs:
            about = {one.key: one.value for one in resource.resource.attributes}
            assert about["esper.run"].string_value == "a"
            records += [record for scope in resource.scope_logs for record in scope.log_records]
    assert [(r.event_name, r.time_unix_nano) for r in records] == [(e.type, e.time_unix_nano) for e in events]
    for record, event in zip(records, events, strict=True):
        attributes = {one.key: value_of(one.value) for one in record.attributes}
        assert attributes.pop("esper.seq") == event.seq
        assert attributes == {f"esper.{field.name}": value for field, value in event.context.ListFields()}
        body = {one.key: value_of(one.value) for one in record.body.kvlist_value.values}
        own = {field.name for field in event.message.DESCRIPTOR.fields}
        wanted = {name: value for name, value in event.data.items() if name in own}
        if wanted.get("total") == BIG:
            wanted["total"] = str(BIG)
        assert repr(body) == repr(wanted)


def value_of(value):
    """Return an AnyValue as a plain value."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: value_of(item.value) for item in value.kvlist_value.values}
    return getattr(value, kind)


@pytest.fixture(scope="module")
def data_set(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    export(folder, path, by="type,run")
    return path


def test_spark_reads_a_data_set_as_it_is(data_set, events):
    sql = pytest.importorskip("pyspark.sql")
    builder = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    try:
        frame = spark.read.option("recursiveFileLookup", "true").parquet(str(data_set / "scalar.logged"))
        rows = frame.selectExpr("run", "value", "step", "unix_micros(time) AS us", "time_ns").orderBy("seq").collect()
        empty = spark.read.option("recursiveFileLookup", "true").parquet(str(data_set / "seed.fossilized")).count()
    finally:
        spark.stop()
    check_rows([tuple(row) for row in rows], events)
    assert empty == 0


def test_clickhouse_reads_a_data_set_as_it_is(data_set, events):
    chdb = pytest.importorskip("chdb")
    source = f"file('{data_set}/scalar.logged/**/*.parquet')"
    columns = "run, value, step, toUnixTimestamp64Micro(time) AS us, time_ns"
    lines = str(chdb.query(f"FROM {source} SELECT {columns} ORDER BY seq", "JSONCompactEachRow")).splitlines()
    rows = [tuple(json.loads(line)) for line in lines]
    check_rows([(run, math.nan if v is None else v, int(step), int(us), ns) for run, v, step, us, ns in rows], events)


@pytest.mark.parametrize("block", BLOCKS, ids=[re.search(r"(?:import|from) (\w+)", block)[1] for block in BLOCKS])
def test_a_block_of_the_page_asks_a_data_set(data_set, block):
    for package in re.findall(r"^(?:import|from) (\w+)", block, re.MULTILINE):
        pytest.importorskip(package)
    scope = {}
    # A whole path: Spark's JVM keeps the working directory that it was started in.
    exec(block.replace("data/", f"{data_set}/"), scope)  # noqa: S102 - the page is ours
    assert scope["best"] == [(2,)]


def check_rows(rows, events):
    found = [event for event in events if event.type == "scalar.logged"]
    assert len(rows) == len(found) == 3
    for (run, value, step, us, ns), event in zip(rows, found, strict=True):
        assert struct.pack("<d", value) == struct.pack("<d", event.data["value"])
        assert (run, step) == ("a", event.data["step"])
        assert us * 1000 + ns == event.time_unix_nano
