#!/usr/bin/env bash
# duckdb 2.0.1: `WHERE isnan(x)` finds no NaN in a Parquet file of pyarrow 26.0.1, and `max(x)` is the greatest number.
#
# Parquet keeps the least and the greatest value of each column chunk, and writers leave NaN out of both. DuckDB holds NaN
# to be greater than every number, and still concludes from a greatest value of 2 that no row can be NaN: the chunk is
# skipped. `count(*) FILTER (isnan(x))` of the same file is 1, and without statistics in the file all answers are right.
#
# For users of esper-telemetry: data sets that `export` writes have no statistics for columns of reals, so DuckDB finds the
# update whose loss became NaN. In Parquet files of others ask `NOT isfinite(x)`, which is right in both cases.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet duckdb==2.0.1 pyarrow==26.0.1
cat > "$work/ask.py" <<'PROGRAM'
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

QUESTIONS = (
    "SELECT count(*) FROM '{}' WHERE isnan(x)",
    "SELECT max(x) FROM '{}'",
    "SELECT count(*) FILTER (isnan(x)) FROM '{}'",
    "SELECT count(*) FROM '{}' WHERE NOT isfinite(x)",
)
answers = {}
for name, statistics in (("with.parquet", True), ("without.parquet", False)):
    pq.write_table(pa.table({"x": [1.0, float("nan"), 2.0]}), name, write_statistics=statistics)
    answers[name] = [str(duckdb.sql(question.format(name)).fetchall()[0][0]) for question in QUESTIONS]
print(f"duckdb {duckdb.__version__}, pyarrow {pa.__version__}: {answers}")
expected = {"with.parquet": ["0", "2.0", "1", "1"], "without.parquet": ["1", "nan", "1", "1"]}
sys.exit(answers != expected and "changed")
PROGRAM
cd "$work"
"$work/venv/bin/python" ask.py
