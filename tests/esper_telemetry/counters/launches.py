"""An allow-list of operations: whatever is not on it may hide a host wait, whatever it is called."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode

# Operations that make no kernel: they describe or reserve memory, or (scalar_tensor) wrap a number on the host.
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
        "scalar_tensor",
        "select",
        "set_",
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
        "_foreach_copy_",
        "_to_copy",
        "abs",
        "add",
        "add_",
        "amax",
        "amin",
        "cat",
        "clamp",
        "clamp_",
        "clone",
        "copy_",
        "div",
        "eq",
        "fill_",
        "ge",
        "gt",
        "index_select",
        "le",
        "logical_and",
        "lt",
        "maximum",
        "minimum",
        "mul",
        "nan_to_num",
        "ne",
        "round",
        "rsub",
        "sqrt",
        "pow",
        "square",
        "stack",
        "sub",
        "sum",
        "where",
        "zero_",
    }
)


class OnlyQueued(TorchDispatchMode):
    """Counts the launches of what runs inside, and fails at its end if one is not known to be queued."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.partition("::")[2]
        self.names.append(name)
        return func(*args, **(kwargs or {}))

    def __exit__(self, *exception):
        super().__exit__(*exception)
        # Judged here, because a bank lets no exception through to the loop.
        unknown = sorted(set(self.names) - FREE - QUEUED)
        assert not unknown, f"aten::{unknown} are not on the allow-list: they may make the host wait"

    @property
    def launches(self) -> int:
        return sum(name not in FREE for name in self.names)
