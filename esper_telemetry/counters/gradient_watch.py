"""Statistics of learning on the device: norms of gradients, and how far a step moved the weights.

Everything is read where an optimizer steps: gradients are complete there, whatever checkpointing
computed twice, and no hook on a module is needed, which a compiled model would never call. A step is
six calls on lists of tensors, however many parameters there are; what they give stays on the device
until the bank folds it, and leaves in the bank's one copy. Nothing waits.

    grad_norm/G      norm of the gradients of group G at the step: after clipping, if the loop clips
    grad_max/G       largest absolute gradient
    grad_finite/G    share of the gradients that were finite
    update_ratio/G   norm of the step over the norm of the weights before it

Sums are in double precision. A parameter without a gradient counts in its weights only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from esper_telemetry.errors import CounterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esper_telemetry.counters.device import DeviceCounters

# Torch's calls on lists of tensors: every optimizer is made of them, and they have no public name.
_apart, _norms = torch._foreach_sub, torch._foreach_norm  # noqa: SLF001 - see above
_MEASURES = ("grad_norm", "grad_max", "grad_finite", "update_ratio")
# Steps whose results wait for the fold: each is a few numbers a parameter.
_MAX_STEPS = 256


class Measured(NamedTuple):
    """Of one step, by parameter: numbers on the device, and the parameters that had gradients."""

    with_gradient: tuple[int, ...]
    squares: list[Tensor]
    largest: list[Tensor]


class GradientWatch:
    """Watches the steps of an optimizer and hands what it saw to a bank, for each group of parameters.

        watch = GradientWatch(policy)
        counters = DeviceCounters(CounterSpec(heads, scalars=watch.scalars), device)
        watch.attach(optimizer, counters)

    Args:
        groups: a module (one group, "all"); name → parameters; or an optimizer's `param_groups` ("0", "1" or their
            "name").
        updates: measure `update_ratio`, which keeps a copy of the weights over each step.

    Attributes:
        scalars: names that the bank's spec must have.

    Raises:
        CounterError: a group has no parameters, or they are on several devices.
    """

    def __init__(self, groups: Any, *, updates: bool = True) -> None:
        named = {name: [one for one in parameters if one.requires_grad] for name, parameters in _named(groups).items()}
        if not named or not all(named.values()):
            empty = next((name for name, parameters in named.items() if not parameters), "")
            raise CounterError(f"GradientWatch: group {empty!r} has no parameter that learns; leave it out")
        self._parameters = [one for parameters in named.values() for one in parameters]
        devices = {one.device for one in self._parameters}
        if len(devices) > 1:
            raise CounterError(
                f"GradientWatch: parameters are on {len(devices)} devices; use one watch and bank for each"
            )
        (self.device,) = devices
        self._groups: dict[str, range] = {}
        start = 0
        for name, parameters in named.items():
            self._groups[name] = range(start, start + len(parameters))
            start += len(parameters)
        self._updates = updates
        self.scalars = tuple(f"{what}/{name}" for name in named for what in _MEASURES[: 4 if updates else 3])
        self._before: list[Tensor] = []
        self._steps: list[Measured] = []
        self._bank: DeviceCounters | None = None
        self._handles: list[Any] = []
        self._unseen = 0

    def attach(self, optimizer: torch.optim.Optimizer, counters: DeviceCounters) -> None:
        """Watch every step of `optimizer` from now on, into `counters`.

        Raises:
            CounterError: the bank is elsewhere, or its spec lacks `scalars`.
        """
        missing = [name for name in self.scalars if name not in counters.spec.scalars]
        if missing:
            raise CounterError(f"GradientWatch: the spec has no scalar {missing[0]!r}; give it scalars=watch.scalars")
        if counters.device != self.device:
            raise CounterError(f"GradientWatch: parameters are on {self.device}, the bank on {counters.device}")
        self.detach()
        self._bank = counters
        counters.add_source(self)
        self._handles = [
            optimizer.register_step_pre_hook(lambda *_: self._guarded(self._before_step)),
            optimizer.register_step_post_hook(lambda *_: self._guarded(self._after_step)),
        ]
        self._unseen = self._writes()

    def detach(self) -> None:
        """Stop watching; what was seen is still counted."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def collect(self) -> list[tuple[str, Tensor]]:
        """Return (scalar, values [steps]) of the steps since this was last asked: a few launches."""
        if self._handles and self._writes() != self._unseen and not self._steps and self._bank is not None:
            self._bank.report_unseen(
                "parameters were written and no step was seen: the optimizer's step is compiled, or another optimizer"
                " moves them; GradientWatch has nothing of this window"
            )
        self._unseen = self._writes()
        steps, self._steps = self._steps, []
        found: list[tuple[str, Tensor]] = []
        while steps:  # steps in which the same parameters had gradients are joined
            with_gradient = steps[0].with_gradient
            alike = [one for one in steps if one.with_gradient == with_gradient]
            steps = [one for one in steps if one.with_gradient != with_gradient]
            found += self._by_group(with_gradient, alike)
        return found

    def _writes(self) -> int:
        return sum(one._version for one in self._parameters)  # noqa: SLF001 - torch documents no public name

    def _guarded(self, work: Any) -> None:
        """Do the work of a hook; what goes wrong in it is reported, and never reaches the optimizer."""
        bank = self._bank
        try:
            with torch.no_grad():
                work()
        except Exception as error:  # noqa: BLE001 - telemetry never raises into a trainer
            self.detach()
            if bank is not None:
                bank.report_unseen(f"watching gradients failed and ends here: {type(error).__name__}: {error}")

    def _before_step(self) -> None:
        if self._updates:
            if not self._before:
                self._before = [torch.empty_like(one) for one in self._parameters]
            torch._foreach_copy_(self._before, self._parameters)

    def _after_step(self) -> None:
        parameters = self._parameters
        with_gradient = tuple([i for i, one in enumerate(parameters) if one.grad is not None])
        gradients = [_dense(parameters[i].grad) for i in with_gradient]
        weights, moving = (self._before, parameters) if self._updates else ([], [])
        # Of a gradient less itself: 0 where it is finite, else not a number; of 1 more, the sign is 1 or 0.
        apart = list(_apart([*gradients, *moving], [*gradients, *weights])) if gradients or moving else []
        finite, moved = apart[: len(gradients)], apart[len(gradients) :]
        if gradients:
            torch._foreach_add_(finite, 1.0)
            torch._foreach_sign_(finite)
        norms = _norms([*gradients, *finite, *moved, *weights], 2, dtype=torch.float64)
        largest = _norms(gradients, math.inf) if gradients else []
        self._steps.append(Measured(with_gradient, list(norms), list(largest)))
        if len(self._steps) >= _MAX_STEPS and self._bank is not None:
            self._bank.take_from(self)

    def _by_group(self, with_gradient: tuple[int, ...], steps: Sequence[Measured]) -> list[tuple[str, Tensor]]:
        """Return the values of each group and measure from the norms of steps in which the same had gradients."""
        n, p = len(with_gradient), len(self._parameters)
        sizes = [self._parameters[i].numel() for i in with_gradient]
        squares = torch.stack([one for step in steps for one in step.squares]).view(len(steps), -1).square()
        sections = squares.split_with_sizes([n, n, *((p, p) if self._updates else ())], 1)
        largest = torch.stack([one for step in steps for one in step.largest]).view(len(steps), n) if n else None
        found: list[tuple[str, Tensor]] = []
        for name, members in self._groups.items():
            first = sum(i < members.start for i in with_gradient)
            number = sum(i in members for i in with_gradient)
            if number and largest is not None:
                of_group = slice(first, first + number)
                found += [
                    (f"grad_norm/{name}", sections[0][:, of_group].sum(1).sqrt()),
                    (f"grad_max/{name}", largest[:, of_group].amax(1)),
                    (f"grad_finite/{name}", sections[1][:, of_group].sum(1).round() / sum(sizes[of_group])),
                ]
            if self._updates:
                moved, weights = (section[:, members.start : members.stop].sum(1) for section in sections[2:])
                found.append((f"update_ratio/{name}", (moved / weights).sqrt()))
        return found


def _dense(gradient: Tensor | None) -> Tensor:
    if gradient is None or gradient.layout != torch.strided:
        raise CounterError(
            f"a gradient is {gradient if gradient is None else gradient.layout}; only dense ones are watched"
        )
    return gradient.detach()


def _named(groups: Any) -> dict[str, list[Tensor]]:
    if isinstance(groups, nn.Module):
        return {"all": list(groups.parameters())}
    if isinstance(groups, Mapping):
        return {str(name): list(parameters) for name, parameters in groups.items()}
    return {str(group.get("name", i)): list(group["params"]) for i, group in enumerate(groups)}
