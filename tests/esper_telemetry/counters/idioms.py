"""Ways in which trainers own the memory that they hand over: how a value becomes a tensor, and what happens later."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import torch

STEPS = 6


class Idiom:
    """Gives each value memory; `after` is called when the record is made, `end` when its window was flushed."""

    def __init__(self) -> None:
        self.batch = self.step = 0
        self.buffers: dict[Any, Any] = {}

    def give(self, role: str, value: np.ndarray) -> torch.Tensor:
        raise NotImplementedError

    def after(self) -> None:
        """Do nothing."""

    def buffer(self, key: Any, value: np.ndarray, *lead: int) -> torch.Tensor:
        whole = (*key, value.shape) if isinstance(key, tuple) else (key, value.shape)
        if whole not in self.buffers:
            self.buffers[whole] = torch.zeros((*lead, *value.shape), dtype=torch.from_numpy(value).dtype)
        return self.buffers[whole]


class Fresh(Idiom):
    def give(self, role, value):
        return torch.tensor(value)


class Freed(Idiom):
    """Fresh, with so much garbage that the allocator gives the same addresses again and again."""

    def give(self, role, value):
        for _ in range(3):
            torch.tensor(value).add_(1 if value.dtype != bool else True)
        return torch.tensor(value)

    def after(self):
        gc.collect(0)


class Rows(Idiom):
    def give(self, role, value):
        rollout = self.buffer((role, self.batch), value, STEPS)
        rollout[self.step] = torch.from_numpy(value)
        return rollout[self.step]


class ReusedRows(Rows):
    """A rollout buffer that the next batch writes into again."""

    def give(self, role, value):
        rollout = self.buffer(role, value, STEPS)
        rollout[self.step] = torch.from_numpy(value)
        return rollout[self.step]


class Unbound(Idiom):
    def give(self, role, value):
        rollout = self.buffer((role, self.batch), value, STEPS)
        rollout[self.step] = torch.from_numpy(value)
        return rollout.unbind(0)[self.step]


class DetachedRows(Rows):
    def give(self, role, value):
        return super().give(role, value).detach()


class UnsafeRows(Rows):
    """Rows that share their buffer's memory and not its count of writes."""

    def give(self, role, value):
        super().give(role, value)
        rollout = self.buffer((role, self.batch), value, STEPS)
        return torch.unsafe_split(rollout, 1)[self.step].squeeze(0)


class Slices(Idiom):
    def give(self, role, value):
        rollout = self.buffer((role, self.batch), value, STEPS).flatten(0, 1)
        at = self.step * len(value)
        rollout[at : at + len(value)] = torch.from_numpy(value)
        return rollout[at : at + len(value)]


class Columns(Idiom):
    """Environment-major buffers: what is recorded is not contiguous."""

    def give(self, role, value):
        rollout = self.buffer((role, self.batch), value, STEPS).transpose(0, 1).contiguous().transpose(0, 1)
        rollout[self.step] = torch.from_numpy(value)
        return rollout[self.step]


class Numpy(Idiom):
    """Arrays that an environment writes into again."""

    def give(self, role, value):
        key = (role, value.shape)
        kept = self.buffers.setdefault(key, value.copy())
        kept[...] = value
        return torch.from_numpy(kept)


class NumpyWrittenAfter(Idiom):
    """New arrays that a library writes into once more after the call."""

    def give(self, role, value):
        self.buffers[role] = value.copy()
        return torch.as_tensor(self.buffers[role])

    def after(self):
        for array in self.buffers.values():
            array[...] = 0


class FromDlpack(NumpyWrittenAfter):
    def give(self, role, value):
        self.buffers[role] = value.copy() if value.dtype != bool else value.astype(np.uint8)
        tensor = torch.from_dlpack(self.buffers[role])
        return tensor if value.dtype != bool else tensor.view(torch.bool)


class InPlace(Idiom):
    lanes = 1

    def give(self, role, value):
        kept = self.buffer((role, self.lane()), value)
        self.write(kept, torch.from_numpy(value))
        return kept

    def lane(self):
        return self.step % self.lanes

    def write(self, kept, value):
        kept.copy_(value)


class TwoInTurn(InPlace):
    lanes = 2


class Ring(InPlace):
    lanes = 4


class Traceless(InPlace):
    """What a replayed graph, a kernel or `.data` does: a write that no version counter sees."""

    def write(self, kept, value):
        kept.data.copy_(value)


class TracelessRing(Traceless):
    lanes = 3


class Exported(InPlace):
    """A tensor whose memory was exported, and is written from there."""

    def write(self, kept, value):
        np.from_dlpack(kept.view(torch.uint8) if kept.dtype == torch.bool else kept)[...] = value.numpy()


class ViewedAfter(Idiom):
    """An array is taken of a fresh tensor after it was recorded, and written into."""

    def give(self, role, value):
        self.buffers[role] = torch.tensor(value)
        return self.buffers[role]

    def after(self):
        for tensor in self.buffers.values():
            tensor.numpy()[...] = 0
        self.buffers.clear()


class WrittenAfter(ViewedAfter):
    """A fresh tensor is written into after it was recorded."""

    def after(self):
        for tensor in self.buffers.values():
            tensor.zero_()
        self.buffers.clear()


class WrittenAfterTraceless(ViewedAfter):
    def after(self):
        for tensor in self.buffers.values():
            tensor.data.zero_()
        self.buffers.clear()


class Swapped(Idiom):
    """One tensor whose memory is exchanged."""

    def give(self, role, value):
        kept = self.buffers.setdefault((role, value.shape), torch.tensor(value))
        kept.data = torch.tensor(value)
        return kept


class Inference(Fresh):
    def give(self, role, value):
        with torch.inference_mode():
            return torch.tensor(value)


class InferenceInPlace(InPlace):
    def give(self, role, value):
        with torch.inference_mode():
            return super().give(role, value)


class Shared(Idiom):
    """Memory of several processes, recorded whole; another process writes."""

    def give(self, role, value):
        kept = self.buffer(role, value)
        if not kept.is_shared():
            kept.share_memory_()
        kept.data.copy_(torch.from_numpy(value))
        return kept


def sometimes(idiom: type[Idiom]) -> type[Idiom]:
    """Return an idiom that is fresh in two steps of three."""

    class Sometimes(idiom):
        def give(self, role, value):
            return super().give(role, value) if (self.step * 7 + self.batch) % 3 == 0 else torch.tensor(value)

    return Sometimes


def from_batch(number: int, idiom: type[Idiom]) -> type[Idiom]:
    """Return an idiom that is fresh before batch `number`."""

    class Late(idiom):
        def give(self, role, value):
            return super().give(role, value) if self.batch >= number else torch.tensor(value)

        def after(self):
            if self.batch >= number:
                super().after()

    return Late


IDIOMS: dict[str, type[Idiom]] = {
    "fresh": Fresh,
    "freed": Freed,
    "rows": Rows,
    "reused rows": ReusedRows,
    "unbind": Unbound,
    "detached rows": DetachedRows,
    "unsafe rows": UnsafeRows,
    "slices": Slices,
    "columns": Columns,
    "numpy": Numpy,
    "numpy sometimes": sometimes(Numpy),
    "numpy from batch 7": from_batch(7, Numpy),
    "numpy written after": NumpyWrittenAfter,
    "dlpack": FromDlpack,
    "in place": InPlace,
    "in place sometimes": sometimes(InPlace),
    "two in turn": TwoInTurn,
    "ring": Ring,
    "traceless": Traceless,
    "traceless ring": TracelessRing,
    "exported": Exported,
    "viewed after": ViewedAfter,
    "written after": WrittenAfter,
    "written after, traceless": WrittenAfterTraceless,
    "swapped": Swapped,
    "inference": Inference,
    "inference in place": InferenceInPlace,
    "shared": Shared,
    "in place from batch 7": from_batch(7, InPlace),
    "ring from batch 7": from_batch(7, Ring),
    "traceless from batch 7": from_batch(7, Traceless),
    "traceless ring from batch 7": from_batch(7, TracelessRing),
    "exported from batch 7": from_batch(7, Exported),
    "viewed after from batch 7": from_batch(7, ViewedAfter),
    "written after from batch 7": from_batch(7, WrittenAfter),
    "swapped from batch 7": from_batch(7, Swapped),
    "shared from batch 7": from_batch(7, Shared),
}
# What no bank on a device can see: a fresh tensor written into once, by a write that leaves no trace.
HOST_ONLY = {"written after, traceless"}
