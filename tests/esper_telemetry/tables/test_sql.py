"""SQL sees a view for each declared type and a row for each run, and can only read."""

from __future__ import annotations

import datetime as dt

import duckdb
import pyarrow as pa
import pytest

import esper_telemetry as et
from esper_telemetry.errors import QueryError
from esper_telemetry.tables import RecordWarning, Views
from tests.esper_telemetry.tables.stranger import event_class


def test_a_type_is_a_view_with_quotes_and_without(record_run):
    folder = record_run()
    for name in ('"scalar.logged"', "scalar.logged", "SCALAR.Logged", "(SELECT * FROM scalar.logged)"):
        answer = et.query(f"FROM {name} SELECT count(*) AS n, sum(value) AS total", folder)
        assert answer.to_pylist() == [{"n": 2, "total": 0.35}]


def test_a_type_of_the_sdk_without_events_answers_with_no_row(record_run):
    folder = record_run()
    assert len(et.query("SELECT * FROM off_policy.update_completed", folder)) == 0
    assert et.query("SELECT count(*) AS n FROM checkpoint.saved JOIN runs USING (run)", folder)["n"].to_pylist() == [0]


def test_what_was_not_measured_is_null_and_nan_is_a_number(record_run):
    answer = et.query("SELECT isnan(train_loss) AS nan, train_accuracy FROM epoch.completed", record_run())
    assert answer.to_pylist() == [{"nan": True, "train_accuracy": None}]


def test_nested_fields_are_lists_and_maps(record_run):
    folder = record_run()
    heads = et.query("SELECT h.head, h.entropy FROM (SELECT unnest(heads) AS h FROM ppo.update_completed)", folder)
    assert heads.to_pylist() == [{"head": "op", "entropy": 1.25}, {"head": "slot", "entropy": None}]
    counts = et.query("SELECT action_counts['wait'] AS waited FROM policy.action_distribution", folder)
    assert counts["waited"].to_pylist() == [7]


def test_times_can_be_subtracted_and_compared(record_run):
    answer = et.query(
        "SELECT max(time) - min(time) AS took, max(time) > '2020-01-01' AS late FROM scalar.logged", record_run()
    )
    assert answer["late"].to_pylist() == [True]
    assert answer.schema.field("took").type == pa.month_day_nano_interval()


def test_a_run_is_a_row_with_its_configuration_results_and_end(record_run, tmp_path):
    def fill(run) -> None:
        run.results["val_accuracy"] = 81.5

    record_run(fill, name="a", config={"lr": 0.5, "net": {"depth": 3}}, tags={"group": "x"})
    with pytest.raises(ValueError, match="broken"), et.start_run(tmp_path / "runs", name="b"):
        raise ValueError("broken")
    sql = """SELECT name, outcome, (config->>'lr')::DOUBLE AS lr, config->'net'->>'depth' AS depth, results, lost, tags
        FROM runs"""
    assert et.query(sql, tmp_path / "runs" / "*").to_pylist() == [
        {
            "name": "a",
            "outcome": "completed",
            "lr": 0.5,
            "depth": "3",
            "results": [("val_accuracy", 81.5)],
            "lost": 0,
            "tags": [("group", "x")],
        },
        {"name": "b", "outcome": "failed", "lr": None, "depth": None, "results": [], "lost": 0, "tags": []},
    ]
    started = et.query("SELECT started, duration_s, ended - started AS took FROM runs", tmp_path / "runs" / "*")
    now = dt.datetime.now(dt.UTC)
    assert all(now - dt.timedelta(hours=1) < time < now for time in started["started"].to_pylist())


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT 1; SELECT 2", "2 statements"),
        ("", "0 statements"),
        ("CREATE TABLE t(i INT)", "only reads, and this is CREATE"),
        ("COPY (SELECT 1) TO 'here.csv'", "this is COPY"),
        ("INSTALL httpfs", "only reads"),
        ("SET threads = 1", "this is SET"),
        ("ATTACH 'other.db'", "this is ATTACH"),
        ("SELECT * FROM '{folder}/x.csv'", "does not exist|disabled"),
        ("SELECT * FROM read_text('/etc/hostname')", "disabled"),
        ("SELECT * FROM glob('/*')", "disabled"),
        ("SELECT * FROM table_of_the_program", "does not exist"),
        ("SELECT * FROM seed.cullled", 'Did you mean "culled".*--explain-views'),
        ("SELEC 1", "syntax error"),
    ],
    ids=str,
)
def test_a_query_that_would_do_more_than_read_is_refused(record_run, sql, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table_of_the_program = pa.table({"secret": [1]})
    with pytest.raises(QueryError, match=reason):
        et.query(sql.replace("{folder}", str(tmp_path)), record_run())
    assert table_of_the_program
    assert not list(tmp_path.glob("*.csv"))
    assert not list(tmp_path.glob("*.db"))


def test_a_pivot_and_an_explain_are_queries(record_run):
    folder = record_run()
    pivot = et.query("PIVOT (SELECT slot_id, blueprint_id FROM seed.germinated) ON slot_id USING count(*)", folder)
    assert pivot.to_pylist() == [{"blueprint_id": "conv_light", "mid": 1}]
    assert "scan" in et.query("EXPLAIN SELECT * FROM seed.germinated", folder)["explain_value"].to_pylist()[0].lower()


def test_two_types_with_one_short_name_are_asked_by_their_full_ones(write_record, tmp_path):
    ours, theirs = event_class("acme.v1", "beam.searched", width="uint64"), event_class("rival.v1", "beam.searched")
    write_record([(ours(width=3), {})], path=tmp_path / "a.esr.zst", run_id="a", producer_id=b"a" * 16)
    write_record([(theirs(), {})], path=tmp_path / "b.esr.zst", run_id="b", producer_id=b"b" * 16)
    answer = et.query('SELECT width FROM "acme.v1.Happened"', tmp_path / "*.esr.zst")
    assert answer["width"].to_pylist() == [3]


def test_a_type_called_as_a_catalog_of_duckdb_is_asked_in_quotes(record_run):
    assert et.query('SELECT count(*) AS n FROM "system.sampled"', record_run())["n"].to_pylist() == [0]


def test_a_database_file_holds_all_tables_for_others_and_is_made_anew(record_run, tmp_path):
    file = tmp_path / "runs.duckdb"
    folder = record_run()
    for _ in range(2):
        assert len(et.query("SELECT * FROM seed.culled", folder, database=file)) == 1
    with duckdb.connect(str(file), read_only=True) as connection:
        assert connection.sql("SELECT count(*) FROM scalar.logged").fetchall() == [(2,)]
        assert connection.sql('SELECT count(*) FROM "seed.culled"').fetchall() == [(1,)]
    (tmp_path / "text.duckdb").write_text("no database, but long enough to look like one" * 99)
    with pytest.raises(QueryError, match=r"text\.duckdb"):
        et.query("SELECT 1", folder, database=tmp_path / "text.duckdb")


def test_what_the_records_lack_is_warned_of(write_record, scalars, tmp_path):
    write_record(scalars(3), scalars(3), shed=2, close=False)
    with pytest.warns(RecordWarning):
        answer = et.query("SELECT count(*) AS n FROM scalar.logged", tmp_path / "record.esr.zst")
    assert answer["n"].to_pylist() == [6]


def test_every_column_of_every_view_is_explained(record_run):
    columns = {(column.view, column.column): column for column in Views(record_run()).columns()}
    accuracy = columns["epoch.completed", "val_accuracy"]
    assert (accuracy.type, accuracy.unit) == ("DOUBLE", "%")
    assert accuracy.description == "Validation accuracy after the epoch."
    assert columns["runs", "config"].type == "JSON"
    assert columns["seed.culled", "time"].type == "TIMESTAMP WITH TIME ZONE"
