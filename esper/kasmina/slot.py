"""A slot of the host: plants a seed, lets it train apart, blends it in, keeps or discards it.

The slot knows the mechanics and reports every hop; it decides nothing that a policy decides. It reads no
value back from the device: `measure()` gives a tensor, and the caller that copied it hands the numbers back.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from esper.kasmina.blending import LinearBlend, build_blend, straight_through
from esper.kasmina.blueprints import build_blueprint
from esper.kasmina.gradients import GradientMonitor
from esper.kasmina.lifecycle import (
    ACTIVE,
    LIVE,
    MOVES,
    Gate,
    GateLimits,
    GateResult,
    LifecycleError,
    SeedMetrics,
    SeedState,
    Stage,
    evaluate_gate,
)
from esper.telemetry import TelemetryEvent, TelemetryEventType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MEASURES = 3  # numbers in `SeedSlot.measure()`


@contextlib.contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Draw from a seed of one's own: the global random state is the same after as before (runs stay paired)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class SeedSlot(nn.Module):
    """A place in the host where one seed can grow.

    Args:
        slot_id: "early", "mid" or "late".
        channels: Channels of the features at this place.
        device: Where a seed is put, in PyTorch's form.
        task_config: Durations and thresholds; None for the defaults.
        on_telemetry: Called with every event of the slot.

    Attributes:
        state: The seed, or the last one while the slot is emptied; None if dormant.
        fast_mode: No event is built, unless `lifecycle_only` is set.
    """

    def __init__(
        self,
        slot_id: str,
        channels: int,
        device: str = "cpu",
        task_config: GateLimits | None = None,
        on_telemetry: Callable[[TelemetryEvent], None] | None = None,
    ) -> None:
        super().__init__()
        self.slot_id = slot_id
        self.channels = channels
        self.device = device
        self.limits = task_config or GateLimits()
        self.on_telemetry = on_telemetry
        self.fast_mode = False
        self.lifecycle_only = False
        self.inner_epoch: int | None = None
        self.global_epoch: int | None = None
        self.state: SeedState | None = None
        self.seed: nn.Module | None = None
        self.blend: LinearBlend | None = None
        self._forced_alpha: float | None = None
        self._gradients = GradientMonitor()

    # What it is.

    @property
    def stage(self) -> Stage:
        """Stage of the slot; DORMANT if it is empty."""
        return Stage.DORMANT if self.state is None else self.state.stage

    @property
    def is_live(self) -> bool:
        """It holds a seed whose fate is open."""
        return self.stage in LIVE

    @property
    def alpha(self) -> float:
        """Blend weight in force; 0 without a seed."""
        if self._forced_alpha is not None:
            return self._forced_alpha
        return 0.0 if self.state is None else self.state.alpha

    def active_params(self) -> int:
        """Parameters the seed has in the forward pass."""
        return self.state.params if self.state is not None and self.stage in ACTIVE else 0

    # Forward.

    def forward(self, host: Tensor) -> Tensor:
        """Pass (N, C, H, W) features on, as far as the seed is blended in."""
        if self.seed is None or self.blend is None or self.stage not in ACTIVE:
            return host
        if self.alpha > 0.0:
            return torch.as_tensor(self.blend(host, self.seed(host), self.alpha))
        if self.stage == Stage.TRAINING and torch.is_grad_enabled():
            # Detached: while isolated, the seed learns from the host and the host not from the seed.
            return straight_through(host, self.seed(host.detach()))
        return host

    @contextlib.contextmanager
    def force_alpha(self, alpha: float) -> Iterator[None]:
        """Mix with this alpha inside the block; 0 gives the network without the seed."""
        before, self._forced_alpha = self._forced_alpha, alpha
        try:
            yield
        finally:
            self._forced_alpha = before

    # What happens to it.

    def begin_epoch(self, inner_epoch: int, global_epoch: int) -> None:
        """Take the loop's counters, which every event of the slot carries, and forget the last gradients."""
        self.inner_epoch, self.global_epoch = inner_epoch, global_epoch
        self._gradients.begin_epoch()

    def germinate(
        self,
        blueprint_id: str,
        *,
        blend_id: str,
        seed_id: str,
        random_seed: int,
        accuracy: float | None = None,
    ) -> bool:
        """Plant a seed; False if the slot is not empty or gate G0 refuses it.

        Args:
            blueprint_id: One of `BLUEPRINTS`.
            blend_id: One of `BLENDS`.
            seed_id: Unique in the run.
            random_seed: For the initialisation, drawn apart from every other random number.
            accuracy: Validation accuracy now, in points; None if not measured.

        Raises:
            ValueError: If the blueprint or the blend is unknown.
        """
        if self.stage != Stage.DORMANT:
            return False
        metrics = SeedMetrics(accuracy=accuracy, accuracy_at_germination=accuracy)
        state = SeedState(seed_id, blueprint_id, blend_id, metrics=metrics)
        with own_randomness(random_seed):
            seed = build_blueprint(blueprint_id, self.channels).to(self.device)
            blend = build_blend(blend_id, self.channels).to(self.device)
        self.state = state
        if not self._passes(Gate.G0):
            self.state = None
            return False
        self.seed, self.blend = seed, blend
        self._gradients = GradientMonitor()
        state.params = sum(parameter.numel() for parameter in self.seed_parameters())
        self._move(Stage.GERMINATED)
        self._emit_telemetry(TelemetryEventType.SEED_GERMINATED, {"blend_id": blend_id, "params": state.params})
        return True

    def cull(self, reason: str) -> bool:
        """Discard a live seed; False if there is none (a fossil stays)."""
        state = self.state
        if state is None or not self.is_live:
            return False
        culled = {
            "from_stage": state.stage.name,
            "alpha": state.alpha,
            "reason": reason,
            "contribution": state.metrics.contribution,
            "accuracy_delta": state.metrics.total_improvement,
            "epochs_total": state.metrics.epochs_total,
        }
        # It goes before the listeners are called: a failing listener leaves no half-discarded seed.
        self.seed = self.blend = None
        state.alpha = 0.0
        self._move(Stage.CULLED)
        self._emit_telemetry(TelemetryEventType.SEED_CULLED, culled)
        return True

    def fossilize(self) -> bool:
        """Keep the seed for good; False if it is not on probation or gate G5 refuses it."""
        state = self.state
        if state is None or self.stage != Stage.PROBATIONARY or not self._passes(Gate.G5):
            return False
        self._move(Stage.FOSSILIZED)
        fossil = {
            "contribution": state.metrics.contribution,
            "accuracy_delta": state.metrics.total_improvement,
            "params_added": state.params,
            "epochs_total": state.metrics.epochs_total,
        }
        self._emit_telemetry(TelemetryEventType.SEED_FOSSILIZED, fossil)
        return True

    def end_episode(self) -> None:
        """Report a seed whose fate is still open: the episode ends before it does. Nothing of the slot changes."""
        state = self.state
        if state is None or not self.is_live:
            return
        ended = {
            "stage": state.stage.name,
            "contribution": state.metrics.contribution,
            "accuracy_delta": state.metrics.total_improvement,
            "epochs_total": state.metrics.epochs_total,
        }
        self._emit_telemetry(TelemetryEventType.SEED_ENDED, ended)

    def advance(self) -> None:
        """End an epoch: what moves by itself makes at most one hop, and alpha one step."""
        state = self.state
        if state is None:
            return
        waited = state.metrics.epochs_in_current_stage
        match state.stage:
            case Stage.GERMINATED if self._passes(Gate.G1):
                self._move(Stage.TRAINING)
            case Stage.TRAINING if self._passes(Gate.G2):
                self._move(Stage.BLENDING)
                self._raise_alpha(state)
            case Stage.BLENDING:
                state.blend_epochs_done += 1
                if state.blend_epochs_done < self.limits.blend_epochs:
                    self._raise_alpha(state)
                elif self._passes(Gate.G3):
                    self._move(Stage.PROBATIONARY)
            case Stage.CULLED:
                self._move(Stage.EMBARGOED)
            case Stage.EMBARGOED if waited >= self.limits.embargo_epochs:
                self._move(Stage.RESETTING)
            case Stage.RESETTING if waited >= self.limits.reset_epochs:
                self._move(Stage.DORMANT)
                self.state = None

    # What it measures.

    def seed_parameters(self) -> list[nn.Parameter]:
        """Parameters of the seed and of its blend."""
        modules = (self.seed, self.blend)
        return [parameter for module in modules if module is not None for parameter in module.parameters()]

    def observe_gradients(self, host_norm: Tensor, host_params: int) -> None:
        """Compare the seed's gradients with the host's after a backward pass; stays on the device."""
        self._gradients.observe(self.seed_parameters(), host_norm, host_params)

    def measure(self) -> Tensor:
        """Pack the epoch's measurements, as `GradientMonitor.pack` does, into (3,) on the device."""
        return self._gradients.pack(self.seed_parameters(), self.device)

    def record_epoch(self, measured: Sequence[float], *, accuracy: float | None, contribution: float | None) -> None:
        """Take what an epoch measured.

        Args:
            measured: `measure()`, read back.
            accuracy: Validation accuracy, in points.
            contribution: Counterfactual contribution, in points; None if not measured.
        """
        if self.state is None:
            return
        ratio, gradient_sum, weights = measured
        metrics = self.state.metrics
        metrics.epochs_total += 1
        metrics.epochs_in_current_stage += 1
        metrics.accuracy = accuracy
        metrics.contribution = contribution
        metrics.gradient_ratio = None if self._gradients.ratio is None else ratio
        metrics.healthy = math.isfinite(gradient_sum) and math.isfinite(weights) if self.seed is not None else None

    # What it reports.

    def _passes(self, gate: Gate) -> bool:
        if self.state is None:
            return False
        result = evaluate_gate(gate, self.state, self.limits)
        self._report_gate(result)
        return result.passed

    def _move(self, to_stage: Stage) -> None:
        state = self.state
        if state is None or to_stage not in MOVES[state.stage]:
            allowed = ", ".join(stage.name for stage in sorted(MOVES[self.stage])) or "none"
            raise LifecycleError(
                f"slot {self.slot_id!r} cannot go from {self.stage.name} to {to_stage.name}: allowed is {allowed}"
            )
        hop = {
            "from_stage": state.stage.name,
            "to_stage": to_stage.name,
            "epochs_in_stage": state.metrics.epochs_in_current_stage,
            "accuracy_delta": state.metrics.improvement,
            "gradient_ratio": state.metrics.gradient_ratio,
        }
        state.stage = to_stage
        state.metrics.epochs_in_current_stage = 0
        state.metrics.accuracy_at_stage_start = state.metrics.accuracy
        self._emit_telemetry(TelemetryEventType.SEED_STAGE_CHANGED, hop)

    def _raise_alpha(self, state: SeedState) -> None:
        """Take the alpha of the epoch to come: the first of five blends with the schedule's 1/5."""
        if self.blend is None:
            return
        total = self.limits.blend_epochs
        state.alpha = self.blend.alpha_at((state.blend_epochs_done + 1) / total)
        progress = {
            "blend_id": state.blend_id,
            "epochs_done": state.blend_epochs_done,
            "epochs_total": total,
        }
        self._emit_telemetry(TelemetryEventType.SEED_BLEND_PROGRESSED, progress)

    def _report_gate(self, result: GateResult) -> None:
        checks = [
            {"metric": c.metric, "value": c.value, "threshold": c.threshold, "passed": c.passed} for c in result.checks
        ]
        self._emit_telemetry(
            TelemetryEventType.SEED_GATE_EVALUATED,
            {"gate": result.gate.name, "passed": result.passed, "checks": checks},
        )

    def _emit_telemetry(self, event_type: TelemetryEventType, data: dict[str, Any]) -> None:
        """Report an event of this slot: identity, alpha, the loop's epochs, and `data` over them; None is left out."""
        state = self.state
        if self.on_telemetry is None or state is None or (self.fast_mode and not self.lifecycle_only):
            return
        full = {
            "slot_id": self.slot_id,
            "seed_id": state.seed_id,
            "blueprint_id": state.blueprint_id,
            "alpha": state.alpha,
            "inner_epoch": self.inner_epoch,
            "global_epoch": self.global_epoch,
            **data,
        }
        present = {key: value for key, value in full.items() if value is not None}
        self.on_telemetry(TelemetryEvent(event_type=event_type, data=present))
