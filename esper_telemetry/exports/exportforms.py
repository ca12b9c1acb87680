"""The names of what can be asked for: forms, partitions and defaults, as plain values.

They are apart from what writes the forms, so that naming a form imports neither pyarrow nor the library of another.
"""

from __future__ import annotations

# Tables as one file for each type: the form, and how the names of its files end.
ENDINGS = {"arrow": "arrow", "csv": "csv", "ndjson": "jsonl"}
# Forms of an ecosystem of their own: the module of this package, and the function in it.
OTHERS = {
    "tensorboard": ("tensorboard", "export_tensorboard"),
    "mcap": ("mcapfile", "export_mcap"),
    "perfetto": ("perfettotrace", "export_perfetto"),
    "otlp": ("otlp", "export_otlp"),
}
FORMS = ("parquet", *ENDINGS, *OTHERS)
# How a data set can be partitioned.
PARTITIONS = ("type", "type,run", "type,date")
# Level of zstd, of a data set.
LEVEL = 3
