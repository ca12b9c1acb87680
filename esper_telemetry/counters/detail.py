"""Per-step detail by column: what the recorded tensors hold of each step, kept as a byte or two a row.

The fold has computed the columns already; here they are joined into one row of bytes
(one launch), which leaves the device inside the counters' one copy. Only then, on the
host, do they become `StepBlock` fields. There is no event and no Python object per row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from esper_telemetry.errors import CounterError
from esper_telemetry.schema import enum_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from esper_telemetry.counters.cells import CellLayout
    from esper_telemetry.counters.entry import Entry, Steps
    from esper_telemetry.counters.spec import CounterSpec
    from esper_telemetry.counters.step_counts import Folded

# A block stays well under an event's limit (512 KiB) and near the size of a frame (256 KiB).
BLOCK_BYTES = 192 * 1024
_MICROSECOND = 1000


class Chunk(NamedTuple):
    """Detail of consecutive steps of one form, as it lies in the copy.

    Attributes:
        steps, envs: its rows are steps x envs.
        span: bytes of one flag column; steps x envs, rounded up.
        sizes: bytes of indices, forced and free flags, success, decided rows, and each scalar, in this order.
        scalars: the scalars and their numpy dtypes.
        context: context given with each step, a value for each.
        env_context: context that differs between environments, a value for each.
        times: per step, wall clock in ns.
    """

    steps: int
    envs: int
    span: int
    sizes: tuple[int, ...]
    scalars: tuple[tuple[str, str], ...]
    context: dict[str, list[int]]
    env_context: dict[str, tuple[int, ...]]
    times: list[int]


class StepDetail:
    """Detail of the steps since the last flush.

    Args:
        spec: must have a `row`.
        capacity: bytes that one flush can carry; rows beyond it are shed, and counted.
        env_ids: `Context.env_id` of each environment of a step; None: 0 to B-1.
        device: `Context.device` of the rows.

    Attributes:
        rows_shed: rows shed since the last flush.

    Raises:
        CounterError: the spec has no row.
    """

    def __init__(self, spec: CounterSpec, capacity: int, env_ids: Sequence[int] | None, device: str) -> None:
        if spec.row is None:
            raise CounterError(
                "steps=True: the spec does not define a row; give CounterSpec(row=StepRow(EventClass, ...))"
            )
        self._row = spec.row
        self._heads = list(spec.heads)
        self._capacity = capacity
        self._env_ids = list(env_ids) if env_ids is not None else None
        self._device = device
        self._columns = _columns_of(spec)
        self._bytes: list[Tensor] = []
        self._chunks: list[Chunk] = []
        self._used = 0
        self._keys: frozenset[str] = frozenset()
        self._per_env: list[str] = []
        self.rows_shed = 0

    def form_of(self, entry: Entry) -> tuple[Any, ...]:
        """Return what entries of one chunk have in common beyond their parts: environments, scalars, context."""
        actions, masks, _, _, scalars, context, _ = entry
        if context.keys() != self._keys:
            self._keys = frozenset(context)
            self._per_env = [name for name, value in context.items() if not isinstance(value, int)]
        part = masks if actions is None else actions
        if not isinstance(part, torch.Tensor):
            part = next(iter(part.values()), None) if hasattr(part, "values") else None
        shape = getattr(part, "shape", None)
        if scalars is None and not self._per_env:
            return shape, self._keys
        return shape, self._keys, _names(scalars), tuple(tuple(context[name]) for name in self._per_env)

    def continues(self, entry: Entry) -> bool:
        """Tell whether the rows of a step without scalars have the context of those before it."""
        return not self._per_env and entry[5].keys() == self._keys

    def keep(self, folded: Folded, together: Steps, layout: CellLayout) -> None:
        """Keep the rows of steps that were folded together and are of one form.

        Raises:
            ValueError: something that has one value for each environment has another number of them.
            TypeError: a context that was an integer in one step is none in another.
        """
        contexts, times, scalars = together
        envs = folded.rows // len(contexts)
        newest = contexts[-1]
        env_context = {name: tuple(value) for name, value in newest.items() if not isinstance(value, int)}
        for name, values in {"env_ids": self._env_ids or range(envs), **env_context}.items():
            if len(values) != envs:
                raise ValueError(f"{name} has {len(values)} values for the {envs} environments of a step")
        context = {name: [context[name] for context in contexts] for name in newest if name not in env_context}
        if any(set(map(type, column)) != {int} for column in context.values()):
            raise TypeError(f"context {', '.join(context)}: give an integer in each step, or a sequence in each")
        parts, sizes, columns = self._parts(folded, scalars, layout)
        if self._used + sum(sizes) > self._capacity:
            self.rows_shed += folded.rows
            return
        self._used += sum(sizes)
        self._bytes.append(torch.cat(parts))
        span = folded.flags.shape[1]
        self._chunks.append(
            Chunk(len(contexts), envs, span, tuple(sizes), tuple(columns), context, env_context, list(times))
        )

    def _parts(
        self, folded: Folded, scalars: Sequence[Any], layout: CellLayout
    ) -> tuple[list[Tensor], list[int], list[tuple[str, str]]]:
        """Return the columns as bytes [n] on the device, their sizes as in a chunk, and the scalars among them."""
        parts: list[Tensor] = [] if folded.indices is None else [folded.indices.view(torch.uint8).view(-1)]
        sizes = [sum(part.numel() for part in parts), 0, 0, 0]
        if layout.free - folded.first < folded.flags.shape[0]:
            flags = folded.flags.narrow(0, layout.forced - folded.first, 2 * len(self._heads))
            parts.append(flags.view(torch.uint8).view(-1))
            sizes[1] = parts[-1].numel()
        if folded.took is not None:
            parts.append(folded.took.contiguous().view(torch.uint8))
            sizes[2] = folded.rows
        if folded.decided is not None:
            parts.append(folded.decided.contiguous().view(torch.uint8))
            sizes[3] = folded.rows
        columns = []
        for name in _names(scalars[0]) if scalars else ():
            if name in self._row.scalars and all(one[name].numel() * len(scalars) == folded.rows for one in scalars):
                column = _real(torch.cat([step[name].reshape(-1) for step in scalars]))
                parts.append(column.view(torch.uint8))
                sizes.append(parts[-1].numel())
                columns.append((name, "<f4" if column.dtype == torch.float32 else "<f8"))
        return parts, sizes, columns

    def collect(self) -> tuple[list[Tensor], list[Chunk], int]:
        """Return what was kept (bytes on the device, and how to read them) and the rows shed, and start anew."""
        collected = self._bytes, self._chunks, self.rows_shed
        self._bytes, self._chunks, self._used, self.rows_shed = [], [], 0, 0
        return collected

    def blocks(self, data: NDArray[np.uint8], chunks: Sequence[Chunk], rows_shed: int) -> list[dict[str, Any]]:
        """Return the fields of one StepBlock after another for copied bytes."""
        blocks: list[dict[str, Any]] = []
        offset = 0
        for chunk in chunks:
            pieces = []
            for size in chunk.sizes:
                pieces.append(data[offset : offset + size])
                offset += size
            decided = pieces.pop(3)
            tiles = self._tiles(chunk, pieces, decided if len(decided) else None)
            blocks += [tile for tile in tiles if "valid" not in tile or any(tile["valid"])]
        if rows_shed:
            if not blocks:
                blocks.append({"row_type": self._row.row_type.DESCRIPTOR.full_name, "steps": 0, "envs": 0})
            blocks[0]["rows_shed"] = rows_shed
        return blocks

    def _tiles(
        self, chunk: Chunk, pieces: list[NDArray[np.uint8]], decided: NDArray[np.uint8] | None
    ) -> list[dict[str, Any]]:
        columns = self._read(chunk, pieces)
        valid = None if decided is None else decided.reshape(chunk.steps, chunk.envs)
        row_bits = sum(8 if kind == "flags" else 8 * values.dtype.itemsize for _, kind, values in columns)
        rows = max(1, BLOCK_BYTES * 8 // max(1, row_bits))
        steps, envs = max(1, rows // chunk.envs), min(chunk.envs, rows)
        return [
            self._block(chunk, columns, valid, slice(step, step + steps), slice(env, env + envs))
            for step in range(0, chunk.steps, steps)
            for env in range(0, chunk.envs, envs)
        ]

    def _read(self, chunk: Chunk, pieces: list[NDArray[np.uint8]]) -> list[tuple[dict[str, Any], str, NDArray[Any]]]:
        """Return (fixed fields, kind, values [steps, envs]) of each column that was recorded."""
        heads, rows = len(self._heads), chunk.steps * chunk.envs
        indices, flags, success, *reals = pieces
        width = max(1, len(indices) // (heads * chunk.span))
        sources: dict[tuple[str, str], NDArray[Any]] = {}
        if len(indices):
            by_head = indices.view(np.uint8 if width == 1 else np.dtype("<u2")).reshape(heads, -1)
            sources |= {("actions", head): by_head[i] for i, head in enumerate(self._heads)}
        if len(flags):
            by_head = flags.reshape(2 * heads, -1)
            sources |= {("forced", head): by_head[i] for i, head in enumerate(self._heads)}
            sources |= {("masked", head): by_head[heads + i] ^ 1 for i, head in enumerate(self._heads)}
        if len(success):
            sources["success", ""] = success
        for (name, dtype), real in zip(chunk.scalars, reals, strict=True):
            sources["scalars", name] = real.view(np.dtype(dtype))
        return [
            (fixed, kind, sources[source][:rows].reshape(chunk.steps, chunk.envs))
            for source, fixed, kind in self._columns
            if source in sources
        ]

    def _block(
        self,
        chunk: Chunk,
        columns: list[tuple[dict[str, Any], str, NDArray[Any]]],
        valid: NDArray[np.uint8] | None,
        steps: slice,
        envs: slice,
    ) -> dict[str, Any]:
        times = chunk.times[steps]
        fields: dict[str, Any] = {
            "row_type": self._row.row_type.DESCRIPTOR.full_name,
            "steps": len(times),
            "envs": min(envs.stop, chunk.envs) - envs.start,
            "context": [{"field": name, "values": values[steps]} for name, values in chunk.context.items()],
            "env_context": [
                {"field": name, "values": list(values[envs])} for name, values in chunk.env_context.items()
            ],
            "device": self._device,
            "columns": [_packed(fixed, kind, values[steps, envs]) for fixed, kind, values in columns],
            "first_time_unix_nano": times[0],
            "time_offsets_us": [(time - times[0]) // _MICROSECOND for time in times],
        }
        if valid is not None:
            fields["valid"] = _bits(valid[steps, envs])
        if self._env_ids is not None:
            fields["env_ids"] = self._env_ids[envs]
        elif envs.start:
            fields["env_ids"] = list(range(envs.start, min(envs.stop, chunk.envs)))
        return fields


def _names(scalars: Any) -> tuple[str, ...]:
    """Return the names of a step's scalars; none of what is no dict, which is reported where values are folded."""
    return tuple(scalars) if hasattr(scalars, "keys") else ()


def _real(values: Tensor) -> Tensor:
    """Return `values` in a precision that holds them: float64 stays, other floats become float32, integers float64."""
    if values.dtype == torch.float64 or not values.is_floating_point():
        return values.detach().to(torch.float64)
    return values.detach().to(torch.float32)


def _bits(values: NDArray[Any]) -> bytes:
    return np.packbits(values, axis=None, bitorder="little").tobytes()


def _packed(fixed: dict[str, Any], kind: str, values: NDArray[Any]) -> dict[str, Any]:
    if kind == "flags":
        return {**fixed, "flags": _bits(values)}
    if kind == "reals":
        return {**fixed, "floats" if values.dtype.itemsize == np.dtype("<f4").itemsize else "doubles": values.tobytes()}
    return {**fixed, "indices": values.tobytes()}


def _columns_of(spec: CounterSpec) -> list[tuple[tuple[str, str], dict[str, Any], str]]:
    """Return (source, fixed fields, kind) of every column, in the order of the row's fields."""
    row = spec.row
    if row is None:
        return []
    fields = row.row_type.DESCRIPTOR.fields_by_name
    found: list[tuple[tuple[str, str], dict[str, Any], str]] = []
    for head, name in row.actions.items():
        options = list(spec.heads[head])
        numbers = list(row.option_numbers(name, options))
        enum = fields[name].enum_type
        labels = [enum_labels(enum)[number] for number in numbers] if enum is not None else options
        found.append((("actions", head), {"field": name, "labels": labels, "numbers": numbers}, "indices"))
    found += [(("masked", head), {"field": name}, "flags") for head, name in row.masked.items()]
    found += [(("forced", head), {"field": name}, "flags") for head, name in row.forced.items()]
    found += [(("scalars", scalar), {"field": name}, "reals") for scalar, name in row.scalars.items()]
    if row.success:
        found.append((("success", ""), {"field": row.success}, "flags"))
    return sorted(found, key=lambda column: fields[column[1]["field"]].number)
