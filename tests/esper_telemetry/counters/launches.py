"""An allow-list of operations: whatever is not on it may hide a host wait, whatever it is called."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode

# Operations that make no kernel: they describe or reserve memory.
FREE = frozenset(
    {
        "_reshape_alias",
        "_unsafe_view",
        "alias",
        "as_strided",
        "detach",
        "empty",
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
        "view_as",
    }
)
# Operations that CUDA only puts in its queue.
QUEUED = frozenset(
    {
        "_foreach_add_",
        "_to_copy",
        "abs",
        "add_",
        "amax",
        "amin",
        "cat",
        "clamp",
        "clamp_",
        "clone",
        "copy_",
        "eq",
        "fill_",
        "ge",
        "index_select",
        "le",
        "logical_and",
        "lt",
        "maximum",
        "minimum",
        "mul",
        "ne",
        "stack",
        "sum",
        "where",
        "zero_",
    }
)


class OnlyQueued(TorchDispatchMode):
    """Counts the launches of what runs inside, and refuses every operation that is not known to be queued."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.partition("::")[2]
        assert name in FREE | QUEUED, f"aten::{name} is not on the allow-list: it may make the host wait"
        self.names.append(name)
        return func(*args, **(kwargs or {}))

    @property
    def launches(self) -> int:
        return sum(name not in FREE for name in self.names)
