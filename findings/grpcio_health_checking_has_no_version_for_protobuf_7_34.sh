#!/usr/bin/env bash
# grpcio-health-checking and grpcio-reflection up to 1.85.1: which protobuf they take jumps, and pip goes back in silence.
#
# Up to 1.81.1 they require protobuf < 7, from 1.82.1 on protobuf >= 7.35.1 (1.82.0, which took both, was yanked). Beside
# a package that pins protobuf 6, pip installs 1.81.1 next to grpcio 1.85.3 without a word, `pip check` included; beside
# protobuf 7.34.0 to 7.35.0 it finds no version at all. grpcio-status of the same release takes protobuf 6.33.5 to 7.x.
#
# For users of esper-telemetry: the extra "collector" works on both sets (docs/measurements/install.md); where an
# environment holds protobuf 7.34 or 7.35.0, raise it to 7.35.1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
resolved() {  # the version of grpcio-health-checking beside a protobuf, or "none"
    "$work/venv/bin/python" -m pip install --quiet --dry-run --report "$work/report.json" \
        'grpcio==1.85.3' 'grpcio-health-checking>=1.80,<=1.85.1' "$1" 2> "$work/errors" || {
        grep -q ResolutionImpossible "$work/errors" || { cat "$work/errors" >&2; exit 2; }
        echo none
        return
    }
    "$work/venv/bin/python" - "$work/report.json" <<'PROGRAM'
import json
import sys

found = {each["metadata"]["name"]: each["metadata"]["version"] for each in json.load(open(sys.argv[1]))["install"]}
print(found["grpcio-health-checking"])
PROGRAM
}
six=$(resolved 'protobuf<7')
between=$(resolved 'protobuf==7.34.1')
newest=$(resolved 'protobuf==7.36.2')
echo "grpcio 1.85.3: health-checking $six on protobuf 6, $between on 7.34.1, $newest on 7.36.2"
[ "$six $between $newest" = "1.81.1 none 1.85.1" ] || { echo changed >&2; exit 1; }
