"""A simulated accelerator: what the host asks for is queued, and runs only when the test lets the device run.

It sits on PyTorch's PrivateUse1 key, in pure Python. A device tensor has a shape at once and a value
later. Reading a value makes the host wait: each wait is counted, and raises `HostWaitError` while the device
is frozen. The API that turns PrivateUse1 into a Python backend is private: `load` skips with a reason
where PyTorch has none.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "simgpu"
# Operations that only describe memory anew: no kernel.
VIEWS = frozenset(
    {
        "_reshape_alias",
        "_unsafe_view",
        "alias",
        "as_strided",
        "detach",
        "empty",
        "empty_like",
        "empty_strided",
        "expand",
        "narrow",
        "permute",
        "reshape",
        "select",
        "slice",
        "split",
        "split_with_sizes",
        "squeeze",
        "t",
        "transpose",
        "unbind",
        "unsqueeze",
        "view",
    }
)
# Operations whose result the host needs before it can go on.
READS = frozenset(
    {
        "_local_scalar_dense",
        "_unique2",
        "bincount",
        "equal",
        "is_nonzero",
        "item",
        "masked_select",
        "nonzero",
        "repeat_interleave",
        "unique_dim",
    }
)


# Working out a shape costs more than all else here; the same ones come again and again.
_known_shapes: dict[Any, Any] = {}


def tree_map(change: Any, tree: Any) -> Any:
    """Return `tree` with every leaf changed; operators take lists and dicts at most (torch's own is 6 times slower)."""
    if isinstance(tree, (list, tuple)):
        return [tree_map(change, one) for one in tree]
    if isinstance(tree, dict):
        return {key: tree_map(change, one) for key, one in tree.items()}
    return change(tree)


def tree_leaves(tree: Any) -> list[Any]:
    """Return the leaves of `tree`."""
    leaves: list[Any] = []
    tree_map(leaves.append, tree)
    return leaves


class HostWaitError(RuntimeError):
    """The host would have to wait for a frozen device."""


class Mark:
    """An event: a place in a lane."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.lane: Lane | None = None
        self.place = 0

    def record(self, lane: Lane | None = None) -> None:
        self.lane = lane or self.chip.lane
        self.place = self.lane.issued

    def query(self) -> bool:
        return self.lane is None or self.lane.executed >= self.place

    def synchronize(self) -> None:
        if not self.query():
            self.chip.wait_for(self.query, "event.synchronize")


class Lane:
    """A stream: work that runs in the order it was asked for."""

    def __init__(self) -> None:
        self.work: deque[tuple[Any, Mark | None]] = deque()
        self.issued = self.executed = 0

    def ask(self, work: Any, after: Mark | None = None) -> None:
        self.work.append((work, after))
        self.issued += 1

    def advance(self) -> bool:
        """Run one piece of work; False if there is none or it waits for another lane."""
        if not self.work or (self.work[0][1] is not None and not self.work[0][1].query()):
            return False
        work, _ = self.work.popleft()
        if work is not None:
            work()
        self.executed += 1
        return True


class Chip:
    """The device: its lanes, and the ledger of what was asked of it."""

    def __init__(self) -> None:
        self.lanes = [Lane()]
        self.lane = self.lanes[0]
        self.frozen = False
        self.launches = self.copies_to_host = self.bytes_to_host = 0
        self.waits: list[str] = []
        self._pinned: set[int] = set()

    @contextlib.contextmanager
    def on(self, lane: Lane):
        before, self.lane = self.lane, lane
        try:
            yield
        finally:
            self.lane = before

    def new_lane(self) -> Lane:
        self.lanes.append(Lane())
        return self.lanes[-1]

    def run(self, pieces: int | None = None, rng: Any = None) -> int:
        """Run so many pieces of work, or all; `rng` decides which lane is next."""
        done = 0
        while pieces is None or done < pieces:
            lanes = list(self.lanes)
            if rng is not None:
                rng.shuffle(lanes)
            if not any(lane.advance() for lane in lanes):
                break
            done += 1
        return done

    def wait_for(self, reached: Any, why: str) -> None:
        """Make the host wait."""
        self.waits.append(why)
        if self.frozen:
            raise HostWaitError(why)
        while not reached():
            if not self.run(1):
                raise HostWaitError(f"deadlock: {why}")

    def idle(self) -> bool:
        return not any(lane.work for lane in self.lanes)

    def pinned(self, size: int) -> torch.Tensor:
        buffer = torch.zeros(size, dtype=torch.uint8, device="cpu")
        self._pinned.add(buffer.untyped_storage().data_ptr())
        return buffer

    def is_pinned(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self._pinned


class SimTensor(torch.Tensor):
    """A tensor on the device: a shape now, a value (a CPU tensor) once the device has come to it."""

    @staticmethod
    def __new__(cls, chip: Chip, like: torch.Tensor):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            like.shape,
            strides=like.stride(),
            storage_offset=like.storage_offset(),
            dtype=like.dtype,
            device=torch.device(NAME, 0),
        )

    def __init__(self, chip: Chip, like: torch.Tensor) -> None:
        self.chip = chip
        self.value: torch.Tensor | None = None

    def __repr__(self) -> str:
        return f"SimTensor{tuple(self.shape)}"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        chip = next(leaf.chip for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, SimTensor))
        return _dispatch(chip, func, args, kwargs or {})


class SimMode(TorchDispatchMode):
    """While active, what is created on the device goes to `chip`."""

    def __init__(self, chip: Chip) -> None:
        super().__init__()
        self.chip = chip

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        to_device = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == NAME
        if to_device or any(isinstance(leaf, SimTensor) for leaf in tree_leaves((args, kwargs))):
            return _dispatch(self.chip, func, args, kwargs)
        return func(*args, **kwargs)


def _dispatch(chip: Chip, func: Any, args: Any, kwargs: Any) -> Any:
    name = func._schema.name.partition("::")[2]
    if name in READS:
        chip.wait_for(chip.idle, name)
        return func(*_values(args), **_values(kwargs))
    if name in ("copy_", "_to_copy"):
        moved = _move(chip, name, args, kwargs)
        if moved is not None:
            return moved
    results = _results(chip, func, args, kwargs)
    if name not in VIEWS:
        chip.launches += 1

    def execute() -> None:
        real = func(*_values(args), **_on(kwargs, "cpu", _values(kwargs)))
        for result, value in zip(tree_leaves(results), tree_leaves(real), strict=True):
            if isinstance(result, SimTensor):
                result.value = value

    chip.lane.ask(execute)
    return results


def _move(chip: Chip, name: str, args: Any, kwargs: Any) -> Any:
    """Copy between host and device; None where both ends are on the device."""
    source = args[1] if name == "copy_" else args[0]
    target = args[0].device if name == "copy_" else torch.device(kwargs.get("device") or source.device)
    if isinstance(source, SimTensor) and target.type == "cpu":
        chip.copies_to_host += 1
        chip.bytes_to_host += source.nbytes
        if name == "copy_" and _is_async(args, kwargs) and chip.is_pinned(args[0]):
            chip.lane.ask(lambda: args[0].copy_(source.value))
            return args[0]
        chip.wait_for(chip.idle, f"{name} to pageable memory")
        return args[0].copy_(source.value) if name == "copy_" else source.value.clone()
    if not isinstance(source, SimTensor) and target.type == NAME:
        content = source.detach().clone()  # the driver stages pageable memory: what counts is its content now
        if name == "copy_":
            chip.lane.ask(lambda: args[0].value.copy_(content))
            return args[0]
        landed = SimTensor(chip, torch.empty_like(content, device="meta", dtype=kwargs.get("dtype")))
        chip.lane.ask(lambda: setattr(landed, "value", content.to(landed.dtype)))
        return landed
    return None


def _is_async(args: Any, kwargs: Any) -> bool:
    return bool(kwargs.get("non_blocking") or (len(args) > 2 and args[2]))


def _results(chip: Chip, func: Any, args: Any, kwargs: Any) -> Any:
    """Return what `func` gives the host now: its written arguments, or tensors of the shapes it will make."""
    written = [
        argument.name for argument in func._schema.arguments if argument.alias_info and argument.alias_info.is_write
    ]
    if written:
        named = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)} | kwargs
        if not func._schema.returns:
            return None
        return named[written[0]] if len(func._schema.returns) == 1 else tuple(named[one] for one in written)
    key = (func, repr(tree_map(_describe, (args, kwargs))))
    if key not in _known_shapes:
        _known_shapes[key] = func(*_shapes(args), **_on(kwargs, "meta", _shapes(kwargs)))
    return tree_map(lambda one: SimTensor(chip, one) if isinstance(one, torch.Tensor) else one, _known_shapes[key])


def _describe(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return leaf.shape, leaf.stride(), leaf.storage_offset(), leaf.dtype
    return leaf


def _shapes(tree: Any) -> Any:
    def shape(leaf: Any) -> Any:
        if isinstance(leaf, SimTensor):
            strided = torch.empty(0, dtype=leaf.dtype, device="meta")
            return strided.set_(strided.untyped_storage(), leaf.storage_offset(), leaf.shape, leaf.stride())
        return leaf.to("meta") if isinstance(leaf, torch.Tensor) else leaf

    return tree_map(shape, tree)


def _values(tree: Any) -> Any:
    return tree_map(lambda leaf: leaf.value if isinstance(leaf, SimTensor) else leaf, tree)


def _on(original: Any, device: str, kwargs: Any) -> Any:
    return {key: device if key == "device" and original[key] is not None else value for key, value in kwargs.items()}


class SimBackend:
    """The backend of a bank on the device."""

    def __init__(self, chip: Chip) -> None:
        self._chip = chip

    def host_buffer(self, size: int) -> torch.Tensor:
        return self._chip.pinned(size)

    def arrival(self) -> Mark:
        return Mark(self._chip)

    def stream(self) -> int:
        return self._chip.lanes.index(self._chip.lane)

    def capturing(self) -> bool:
        return False

    def wait(self, arrival: Mark, timeout: float) -> bool:
        arrival.synchronize()
        return True


_loaded = False


def load() -> None:
    """Give PrivateUse1 to this device, once a process; skip the test where PyTorch cannot."""
    global _loaded  # noqa: PLW0603 - the key belongs to the process
    if _loaded:
        return
    try:
        from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
    except ImportError:
        pytest.skip(f"torch {torch.__version__} cannot make a Python backend of PrivateUse1")
    _setup_privateuseone_for_python_backend(NAME)
    # Asked for by every autocast of this process from now on, as in activation checkpointing.
    torch.get_device_module(NAME).get_amp_supported_dtype = list
    _loaded = True
