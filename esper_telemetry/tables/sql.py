"""SQL over records: DuckDB views of the tables that a query names, for one query that can only read.

A query sees a view for each declared type (also without events) and `runs`. It cannot reach a file, an extension or a
variable of the program, and is one statement that selects. Only the types that it names are decoded.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from esper_telemetry.decode import survey
from esper_telemetry.errors import MissingExtraError, QueryError
from esper_telemetry.tables.opening import Reading, chosen_events
from esper_telemetry.tables.runtable import SCHEMA as RUNS_SCHEMA
from esper_telemetry.tables.runtable import run_table
from esper_telemetry.tables.table import read_tables

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from esper_telemetry.tables.layouts import TableLayout
    from esper_telemetry.tables.opening import Runs

RUNS = "runs"
# Names that DuckDB has for catalogs and schemas of its own: "system.sampled" is asked for in quotes.
_CATALOGS = {"system", "temp", "memory", "main", "information_schema", "pg_catalog"}
_HINT = "; `esper-telemetry query --explain-views FILE...` lists the views and their columns"


def query(sql: str, runs: Runs, *, database: str | os.PathLike[str] | None = None, **choice: Any) -> pa.Table:
    """Return the answer of an SQL query over runs.

        esper_telemetry.query("SELECT slot_id, count(*) FROM seed.culled GROUP BY 1", "runs/*")

    There is a view for each type that the runs declare, with the columns of `table`: `"seed.culled"`, or seed.culled
    without quotes; by its full name where two types have one short name. `runs` has a row for each run. Times are
    TIMESTAMPTZ, of microseconds; the order of events is that of `seq`. The dialect is DuckDB's.

    Args:
        sql: one statement that selects.
        runs: a record file, a run folder, a pattern such as "runs/*", or several of these.
        database: a DuckDB file to keep all tables in, for queries by other programs; None keeps them in memory.
        choice: `envs`, `ranks`, `since`, `until`, `first_seq`, `last_seq`, `batches`, `steps`, `expand`, `strict` and
            `latest`, as for `read`.

    Warns:
        RecordWarning: a record is damaged or cut off, or events were lost.

    Raises:
        QueryError: the statement is wrong, names a view that is not there, or would do more than select.
        RecordError: nothing can be read, or a part is damaged and `strict` is not False.
        SchemaError: a field has two types in two records.
        MissingExtraError: DuckDB is not installed.
        ValueError: a datetime has no time zone.
    """
    views = Views(runs, database=database, **choice)
    with contextlib.closing(views):
        answer = views.answer(sql)
        views.reading.warn(2)
    return answer


class Column(NamedTuple):
    """A column of a view.

    Attributes:
        view: name of the view.
        column: its name.
        type: its type in SQL.
        unit: UCUM unit; empty where it has none.
        description: what the schema states about it.
    """

    view: str
    column: str
    type: str
    unit: str
    description: str


class Views:
    """Views of records in a DuckDB database. Not for use by two threads at once.

    Args:
        runs: as for `query`.
        database: as for `query`.
        choice: as for `query`.

    Attributes:
        reading: what is read; its warnings are complete after a query.
    """

    def __init__(self, runs: Runs, *, database: str | os.PathLike[str] | None = None, **choice: Any) -> None:
        settings = {name: choice.pop(name) for name in ("expand", "strict", "latest", "fast") if name in choice}
        self._found = survey(runs)
        self._wanted = chosen_events(**choice)
        self._settings = settings
        self._database = database
        self.reading = Reading(self._found, None, self._wanted, **settings)
        self._names = _view_names(self.reading.layouts.all())
        self._duckdb = _duckdb()
        self._connection = self._connect(database)

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def answer(self, sql: str) -> pa.Table:
        """Return the answer of one statement; it is the only one that this object answers.

        Raises:
            QueryError: as for `query`.
        """
        self._check(sql)
        self._fill(None if self._database is not None else self._named(sql))
        self._connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        try:
            return self._connection.sql(sql).to_arrow_table()
        except self._duckdb.Error as error:
            raise QueryError(f"{_plain(error)}{_HINT}") from None

    def columns(self) -> Iterator[Column]:
        """Yield each column of each view, with its type in SQL."""
        self._fill(set())
        for view, schema in self._schemas():
            types = {name: kind for name, kind, *_ in self._connection.sql(f"DESCRIBE {_quoted(view)}").fetchall()}
            for field in schema:
                about = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
                unit, description = about.get("unit", ""), about.get("description", "")
                yield Column(view, field.name, types[field.name], unit, description)

    def explained(self) -> pa.Table:
        """Return `columns` as a table, a row for each."""
        names = ("view", "column", "unit", "description", "type")
        rows = [{name: getattr(column, name) for name in names} for column in self.columns()]
        return pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in names]))

    def _schemas(self) -> Iterator[tuple[str, pa.Schema]]:
        yield RUNS, RUNS_SCHEMA
        for view, layout in self._names.items():
            yield view, layout.schema

    def _connect(self, database: str | os.PathLike[str] | None) -> Any:
        try:
            return self._duckdb.connect(
                ":memory:" if database is None else str(database), config={"python_enable_replacements": "false"}
            )
        except self._duckdb.Error as error:
            raise QueryError(
                f"{database}: {_plain(error)}; pass a DuckDB file, or a path that does not exist yet"
            ) from None

    def _check(self, sql: str) -> None:
        """Refuse what is not one statement that selects."""
        kinds = self._duckdb.StatementType
        try:
            statements = self._connection.extract_statements(sql)
        except self._duckdb.Error as error:
            raise QueryError(_plain(error)) from None
        if len(statements) != 1:
            raise QueryError(f"{len(statements)} statements were given; pass one that selects")
        # A PIVOT is a statement of several.
        if statements[0].type not in (kinds.SELECT, kinds.EXPLAIN, kinds.MULTI):
            raise QueryError(
                f"a query only reads, and this is {statements[0].type.name}; pass a statement that selects"
            )

    def _named(self, sql: str) -> set[str]:
        """Return the views that a statement may read: those whose name, or the last part of it, is in it."""
        text = sql.lower()
        try:
            words = {name.lower() for name in self._connection.get_table_names(sql)}
        except self._duckdb.Error:  # a PIVOT, or a mistake that running it will tell
            return {view for view in (*self._names, RUNS) if view.lower().rpartition(".")[2] in text}
        return {view for view in (*self._names, RUNS) if {view.lower(), view.lower().rpartition(".")[2]} & words}

    def _fill(self, wanted: set[str] | None) -> None:
        """Make all views; those that are wanted (None: all) hold what the records hold, the others no row."""
        filled = {view: layout for view, layout in self._names.items() if wanted is None or view in wanted}
        tables: dict[str, pa.Table] = {}
        if filled:
            names = [layout.full_name for layout in filled.values()]
            self.reading = Reading(self._found, names, self._wanted, **self._settings)
            tables = read_tables(self.reading)
        by_view = {
            view: tables.get(layout.name, layout.schema.empty_table())
            if view in filled
            else layout.schema.empty_table()
            for view, layout in self._names.items()
        }
        by_view[RUNS] = run_table(self._found) if wanted is None or RUNS in wanted else RUNS_SCHEMA.empty_table()
        script = []
        for view, table in by_view.items():
            columns = _projection(table.schema)
            if self._database is None:
                self._connection.from_arrow(table).project(columns).create_view(view)
            else:
                self._connection.register("__source", table)
                self._connection.execute(f"CREATE OR REPLACE TABLE {_quoted(view)} AS FROM __source SELECT {columns}")
                self._connection.unregister("__source")
            schema, dot, name = view.partition(".")
            if dot and "." not in name and schema not in _CATALOGS:  # seed.culled without quotes is culled in seed
                script.append(f"CREATE SCHEMA IF NOT EXISTS {_quoted(schema)}")
                script.append(f"CREATE OR REPLACE VIEW {_quoted(schema)}.{_quoted(name)} AS FROM main.{_quoted(view)}")
        try:
            self._connection.execute(";".join(script))
        except self._duckdb.Error as error:
            raise QueryError(f"the views could not be made: {_plain(error)}") from None


def _view_names(layouts: list[TableLayout]) -> dict[str, TableLayout]:
    """Return the tables by the names of their views; those of SQL differ by more than case."""
    names: dict[str, TableLayout] = {}
    taken = {RUNS}
    for layout in layouts:
        name = layout.name if layout.name.lower() not in taken else layout.full_name
        taken.add(name.lower())
        names[name] = layout
    return names


def _projection(schema: pa.Schema) -> str:
    """Return the columns of a view: times as microseconds, which all functions take, and the configuration as JSON."""
    casts = [
        f"CAST({_quoted(field.name)} AS TIMESTAMPTZ) AS {_quoted(field.name)}"
        for field in schema
        if pa.types.is_timestamp(field.type)
    ]
    if schema == RUNS_SCHEMA:
        casts.append("CAST(config AS JSON) AS config")
    return f"* REPLACE ({', '.join(casts)})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _plain(error: Exception) -> str:
    """Return the message of DuckDB on one line."""
    return " ".join(str(error).split())


def _duckdb() -> Any:
    try:
        import duckdb
    except ModuleNotFoundError:
        raise MissingExtraError("the package 'duckdb', which SQL needs,", "query") from None
    return duckdb
