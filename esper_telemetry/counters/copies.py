"""Copies of what was recorded, in rows of memory that a bank keeps: one call a record, no allocation.

On CUDA the parts of a record are copied as bytes, because one launch takes many tensors of
one type only. Rows are used again after each fold, on the stream that folded them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# A chunk of rows: large enough that making it costs nothing a record, small against the memory a bank may hold.
_CHUNK_BYTES = 256 * 1024
_CHUNK_ROWS = 128

Row = tuple[list[Tensor], list[Tensor]]


class Shelf:
    """Rows for records whose copied parts have the same shapes and types.

    Args:
        parts: those of the first record.
        as_bytes: copy bytes; parts that are not contiguous are then copied in the order of their elements first.
    """

    def __init__(self, parts: Sequence[Tensor], *, as_bytes: bool) -> None:
        self.shapes = [part.shape for part in parts]
        self.dtypes = [part.dtype for part in parts]
        self._device = parts[0].device
        self._facts = [(part.shape, part.dtype) for part in parts]
        self._as_bytes = as_bytes
        self._chunks: list[list[Row]] = []
        self._rows: Iterator[Row] = iter(())
        self._used = 0

    def fits(self, parts: Sequence[Tensor]) -> bool:
        """Tell whether `parts` can be copied here."""
        if len(parts) != len(self._facts):
            return False
        device = self._device
        for part, (shape, dtype) in zip(parts, self._facts, strict=True):
            if part.shape != shape or part.dtype is not dtype or part.device != device:
                return False
        return True

    def copy(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Return copies of `parts`, valid until `rewind`."""
        row = next(self._rows, None)
        if row is None:
            row = self._next_chunk()
        kept, targets = row
        if self._as_bytes:
            parts = [part.reshape(-1).view(torch.uint8) for part in parts]
        torch._foreach_copy_(targets, parts)  # type: ignore[arg-type]  # any sequence does
        return kept

    def rewind(self) -> None:
        """Use all rows again."""
        self._used = 0
        self._rows = iter(())

    def _next_chunk(self) -> Row:
        if self._used == len(self._chunks):
            self._chunks.append(self._new_chunk())
        self._rows = iter(self._chunks[self._used])
        self._used += 1
        return next(self._rows)

    def _new_chunk(self) -> list[Row]:
        size = sum(shape.numel() * dtype.itemsize for shape, dtype in zip(self.shapes, self.dtypes, strict=True))
        number = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // max(1, size)))
        with torch.inference_mode(mode=False):  # an inference tensor could not be written to outside that mode
            blocks = [
                torch.empty((number, *shape), dtype=dtype, device=self._device)
                for shape, dtype in zip(self.shapes, self.dtypes, strict=True)
            ]
            kept = zip(*(block.unbind(0) for block in blocks), strict=True)
            if not self._as_bytes:
                return [(list(row), list(row)) for row in kept]
            flat = zip(*(block.view(number, -1).view(torch.uint8).unbind(0) for block in blocks), strict=True)
            return [(list(row), list(bytes_)) for row, bytes_ in zip(kept, flat, strict=True)]


class Shelves:
    """The shelves of a bank, by what is copied together.

    Args:
        as_bytes: see `Shelf`.
    """

    def __init__(self, *, as_bytes: bool) -> None:
        self._as_bytes = as_bytes
        self._shelves: dict[tuple[str, ...], list[Shelf]] = {}

    def fitting(self, roles: tuple[str, ...], parts: Sequence[Tensor]) -> Shelf:
        """Return the shelf for parts that have these roles in a record."""
        shelves = self._shelves.setdefault(roles, [])
        for shelf in shelves:
            if shelf.fits(parts):
                return shelf
        shelves.insert(0, Shelf(parts, as_bytes=self._as_bytes))
        return shelves[0]

    def rewind(self) -> None:
        """Use all memory again: what was copied has been folded."""
        for shelves in self._shelves.values():
            del shelves[_SHAPES:]
            for shelf in shelves:
                shelf.rewind()


# Shapes of one set of parts for which memory is kept from window to window.
_SHAPES = 4
