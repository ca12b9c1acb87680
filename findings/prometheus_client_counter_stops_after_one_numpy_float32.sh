#!/usr/bin/env bash
# prometheus-client 0.26.0: one increment by a numpy.float32 makes a counter a float32, which stops at 16,777,216.
#
# `Counter.inc(x)` adds to what it holds, and under numpy 2 a Python float plus a numpy.float32 is a numpy.float32. From
# then on every increment by 1 is computed in 24 bits: from 2**24 on it changes nothing, and `rate()` of the counter is 0.
# No error is raised; the text that is scraped differs in its value only.
#
# For users of esper-telemetry: the metrics of a collector count Python integers. A sink of your own that exports numbers of
# events to Prometheus should pass `float(x)`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet prometheus-client==0.26.0 numpy==2.4.6
cat > "$work/count.py" <<'PROGRAM'
import sys
from importlib.metadata import version

import numpy as np
from prometheus_client import CollectorRegistry, Counter

registry = CollectorRegistry()
for name, first in (("python", 1.0), ("numpy", np.float32(1))):
    counter = Counter(name, "steps", registry=registry)
    counter.inc(first)
    counter.inc(2**24 - 1)
    for _ in range(1000):
        counter.inc()
totals = [int(registry.get_sample_value(f"{name}_total")) for name in ("python", "numpy")]
versions = f"prometheus-client {version('prometheus-client')}, numpy {np.__version__}"
print(f"{versions}: after 2**24 + 1000 increments: {totals[0]:,}; begun with a numpy.float32: {totals[1]:,}")
sys.exit(totals != [2**24 + 1000, 2**24] and "changed")
PROGRAM
cd "$work"
"$work/venv/bin/python" count.py
