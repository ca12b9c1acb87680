"""An allow-list of operations: whatever is not on it may hide a host wait, whatever it is called."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode

# Operations that make no kernel: they describe or reserve memory.
FREE = frozenset(
    ["view", "slice", "select", "expand", "permute", "transpose", "t", "unsqueeze", "squeeze", "alias", "detach", "as_strided", "split", "unbind", "split_with_sizes", "reshape", "_unsafe_view", "_reshape_alias", "narrow", "empty", "empty_strided", "view_as"]
)
# Operations that CUDA only puts in its queue.
QUEUED = frozenset(
    ["cat", "stack", "clamp", "copy_", "zero_", "fill_", "index_select", "sum", "eq", "ge", "le", "lt", "ne", "abs", "where", "amin", "amax", "minimum", "maximum", "logical_and", "add_", "_foreach_add_", "_to_copy", "clone", "mul"]
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
