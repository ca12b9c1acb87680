"""What bytes that are no record look like, for the error that refuses them."""

from __future__ import annotations

_SIGNATURES = (
    (b"\x28\xb5\x2f\xfd", "a zstd file that is no record"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PK\x03\x04", "a zip file or a torch checkpoint"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x89MCAP0", "an MCAP file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x89HDF", "an HDF5 file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x7fELF", "a program"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"{", "JSON"),
    (b"[", "JSON"),
    (b"<", "HTML or XML"),
)
_SHOWN_BYTES = 8


def looks_like(start: bytes) -> str:
    """Return in a few words what a file that starts with `start` seems to be."""
    if not start:
        return "it is empty"
    if not start.strip(b"\0"):
        return "it starts with zeros"
    for signature, name in _SIGNATURES:
        if start.startswith(signature):
            return f"it looks like {name}"
    if start.isascii() and all(byte >= ord(" ") or byte in b"\t\r\n" for byte in start):
        return "it looks like text"
    return f"it starts with {start[:_SHOWN_BYTES].hex(' ')}"
