"""What the counters must equal: plain Python loops over plain lists, the definitions of design read aloud."""

from __future__ import annotations

from typing import Any

import torch

from esper_telemetry.counters import CounterSpec, Snapshot

# The heads that the goals are stated for: 8 heads, 41 options.
EIGHT_HEADS = {
    "op": ("WAIT", "GERMINATE", "CULL", "FOSSILIZE", "GROW", "PRUNE"),
    "slot": 3,
    "blueprint": 13,
    "style": 4,
    "tempo": 3,
    "alpha_target": 3,
    "alpha_speed": 4,
    "alpha_curve": 5,
}
RULES = {"slot": ("op", ("GERMINATE", "CULL", "FOSSILIZE")), "blueprint": ("op", ("GERMINATE",))}


def spec_of(heads: int = 8, **more: Any) -> CounterSpec:
    """Return a spec of the first so many heads."""
    chosen = dict(list(EIGHT_HEADS.items())[:heads])
    rules = {head: rule for head, rule in RULES.items() if head in chosen}
    return CounterSpec(chosen, relevant=rules, **more)


def random_step(spec: CounterSpec, envs: int, seed: int, *, wild: bool = True) -> tuple[torch.Tensor, ...]:
    """Return packed actions [B, H], masks [B, S] and success [B]; `wild`: indices out of range and empty masks too."""
    rng = torch.Generator().manual_seed(seed)
    reach = 1 if wild else 0
    actions = [torch.randint(-reach, len(options) + reach, (envs,), generator=rng) for options in spec.heads.values()]
    masks = torch.rand(envs, spec.option_count, generator=rng) < (0.5 if wild else 2.0)
    return torch.stack(actions, 1), masks, torch.rand(envs, generator=rng) < 0.7


def by_head(spec: CounterSpec, step: tuple[torch.Tensor, ...]) -> tuple[Any, ...]:
    """Return a packed step as dicts of head to tensor."""
    actions, masks, success = step
    ends = [(at, at + len(spec.heads[head])) for head, at in spec.option_offsets.items()]
    return (
        {head: actions[:, i].contiguous() for i, head in enumerate(spec.heads)},
        {head: masks[:, at:end].contiguous() for head, (at, end) in zip(spec.heads, ends, strict=True)},
        success,
    )


def count(spec: CounterSpec, steps: list[tuple[torch.Tensor, ...]]) -> dict[str, Any]:
    """Count packed steps one decision and one option at a time."""
    names = ("rows", "restricted", "forced", "relevant", "empty", "invalid_selected", "out_of_range")
    counts: dict[str, Any] = {name: dict.fromkeys(spec.heads, 0) for name in names}
    for name in ("action_count", "success_count", "valid_count"):
        counts[name] = {head: [0] * len(options) for head, options in spec.heads.items()}
    for actions, masks, success in steps:
        for row, mask, took in zip(actions.tolist(), masks.tolist(), success.tolist(), strict=True):
            decision = dict(zip(spec.heads, row, strict=True))
            for head, options in spec.heads.items():
                at = spec.option_offsets[head]
                _count_decision(spec, counts, head, decision=decision, valid=mask[at : at + len(options)], took=took)
    counts["steps"] = len(steps)
    return counts


def _count_decision(
    spec: CounterSpec, counts: dict[str, Any], head: str, *, decision: dict[str, int], valid: list[bool], took: bool
) -> None:
    counts["rows"][head] += 1
    counts["restricted"][head] += not all(valid)
    counts["forced"][head] += sum(valid) == 1
    counts["empty"][head] += not any(valid)
    if head in spec.relevant:
        decider, options = spec.relevant[head]
        counts["relevant"][head] += decision[decider] in options
    else:
        counts["relevant"][head] += 1
    for option, allowed in enumerate(valid):
        counts["valid_count"][head][option] += allowed
    action = decision[head]
    if not 0 <= action < len(valid):
        counts["out_of_range"][head] += 1
        return
    counts["action_count"][head][action] += 1
    counts["success_count"][head][action] += took
    counts["invalid_selected"][head] += not valid[action]


def counts_of(snapshot: Snapshot) -> dict[str, Any]:
    """Return the same of a snapshot."""
    return {
        name: getattr(snapshot, name)
        for name in (
            "rows",
            "restricted",
            "forced",
            "relevant",
            "empty",
            "invalid_selected",
            "out_of_range",
            "action_count",
            "success_count",
            "valid_count",
            "steps",
        )
    }
