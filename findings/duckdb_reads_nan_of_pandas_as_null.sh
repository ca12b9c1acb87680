#!/usr/bin/env bash
# duckdb 2.0.1: NaN in a pandas 3.1.1 frame is NULL for a query, NaN in an Arrow table stays NaN.
#
# The same two values, 1.0 and NaN, are asked as a frame and as a table. Over the frame the mean is 1.0 and one value is
# missing; over the table the mean is NaN and nothing is missing. A loss that became NaN turns into one that was not logged.
#
# For users of esper-telemetry: `et.query` asks records without pandas between them, and NULL there means "not measured".
# Pass `et.table(...)` on to DuckDB as it is, and call `.to_pandas()` last.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet duckdb==2.0.1 pandas==3.1.1 pyarrow==26.0.1
cat > "$work/ask.py" <<'PROGRAM'
import sys

import duckdb
import pandas as pd
import pyarrow as pa

frame = pd.DataFrame({"loss": [1.0, float("nan")]})
arrow = pa.table({"loss": [1.0, float("nan")]})
answers = {}
for name in ("frame", "arrow"):
    (row,) = duckdb.sql(f"SELECT avg(loss), count(*) FILTER (loss IS NULL) FROM {name}").fetchall()
    answers[name] = [str(value) for value in row]
print(f"duckdb {duckdb.__version__}, pandas {pd.__version__}: mean and number of NULL: {answers}")
sys.exit(answers != {"frame": ["1.0", "1"], "arrow": ["nan", "0"]} and "changed")
PROGRAM
cd "$work"
"$work/venv/bin/python" ask.py
