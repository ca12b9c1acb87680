"""Which rows happened in the environments, batches and steps that are wanted, from columns alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esper_telemetry.decode import Filter


def in_place(
    wanted: Filter, payload: Mapping[str, pa.Array], context: Mapping[str, pa.Array], rows: int
) -> pa.Array | None:
    """Return which of some rows are wanted by where in the run they happened; None where that is not asked.

    As in the data of an event, a field of the payload counts before that of the context with the same name.

    Args:
        wanted: which rows.
        payload: columns of the message.
        context: columns of its context; both without those that no row has.
        rows: how many.
    """
    mask = None
    for name in wanted.place_names:
        columns = [found[name] for found in (payload, context) if name in found and _is_number(found[name])]
        one = _none(rows) if not columns else _wanted_values(wanted, name, columns)
        mask = one if mask is None else pc.and_(mask, one)
    return mask


def _wanted_values(wanted: Filter, name: str, columns: list[pa.Array]) -> pa.Array:
    found = _chosen(wanted, name, columns[0])
    if len(columns) > 1:
        found = pc.if_else(pc.is_valid(columns[0]), found, _chosen(wanted, name, columns[1]))
    return found


def _chosen(wanted: Filter, name: str, values: pa.Array) -> pa.Array:
    """Return which values are wanted; NULL is none."""
    if name != "env_id" and len(values):
        ends = pc.min_max(values).as_py()
        if ends["min"] is not None and wanted.wants_at(name, ends["min"]) and wanted.wants_at(name, ends["max"]):
            return pc.is_valid(values)  # a span that holds both ends holds all between them
    encoded = values.dictionary_encode()
    fits = pa.array([wanted.wants_at(name, value) for value in encoded.dictionary.to_pylist()], pa.bool_())
    return pc.fill_null(fits.take(encoded.indices), False)  # noqa: FBT003 - Arrow's


def _is_number(values: pa.Array) -> bool:
    return bool(pa.types.is_integer(values.type) or pa.types.is_floating(values.type))


def _none(rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(value=False), rows)
