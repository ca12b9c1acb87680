#!/usr/bin/env bash
# zstandard 0.25.0: of a file that begins with a skippable frame, two of its readers return nothing, without an error.
#
# The zstd format lets a file hold any number of frames, and frames to be skipped (RFC 8878, 3.1.2). `zstandard.open` reads
# all of such a file. `decompressobj().decompress` and `read_to_iter` end at the first frame they meet, which here has no
# content: b"" comes back. `stream_reader(...).read(n)` returns the first frame with content, and looks finished.
#
# For users of esper-telemetry: a record is such a file. `et.read` and tools/decode_records.py read all of it; so do
# `zstd -dc` and `zstandard.open`. docs/compatibility.md lists what other decoders do.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet zstandard==0.25.0
cat > "$work/read.py" <<'PROGRAM'
import io
import sys

import zstandard

skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"head"
compress = zstandard.ZstdCompressor().compress
data = skippable + compress(b"first ") + compress(b"second")
reader = zstandard.ZstdDecompressor()
read = {
    "open": zstandard.open(io.BytesIO(data)).read(),
    "stream_reader": reader.stream_reader(data).read(100),
    "decompressobj": reader.decompressobj().decompress(data),
    "read_to_iter": b"".join(reader.read_to_iter(data)),
}
print(f"zstandard {zstandard.__version__}: {read}")
expected = {"open": b"first second", "stream_reader": b"first ", "decompressobj": b"", "read_to_iter": b""}
sys.exit(read != expected and "changed")
PROGRAM
cd "$work"
"$work/venv/bin/python" read.py
