"""PPO with action masks in one file, in the style of CleanRL: what masks allow is counted on the device.

    python examples/masked_ppo.py [RUNS]             # needs esper-telemetry[torch]
    esper-telemetry report runs/*-masked-ppo-* -o report.html

You see the return of each batch rise. In the report, look at actions and masks: how often "jump" was forbidden, and how
often it was chosen when it was not. The loop never waits for these counts: they are read back once a batch.
"""

import sys

import torch
from torch.distributions import Categorical

import esper_telemetry as et
from esper_telemetry.counters import CounterSpec, DeviceCounters, emit_snapshot

ENVS, STEPS, BATCHES, EPOCHS, LENGTH = 16, 32, 12, 4, 9
MOVES = {"left": -1, "stay": 0, "right": 1, "jump": 2}


class Corridors:
    """Walk to the end. `left` is illegal at the start, `jump` where the floor is soft (odd places)."""

    def __init__(self) -> None:
        self.place = torch.zeros(ENVS, dtype=torch.int64)

    def observe(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return one-hot places, and the masks: True where a move is legal."""
        masks = torch.ones(ENVS, len(MOVES), dtype=torch.bool)
        masks[:, 0], masks[:, 3] = self.place > 0, self.place % 2 == 0
        return torch.nn.functional.one_hot(self.place, LENGTH).float(), masks

    def step(self, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Move; return rewards, and which corridors were walked to the end and began again."""
        self.place = (self.place + torch.tensor(list(MOVES.values()))[action]).clamp(0, LENGTH - 1)
        done = self.place == LENGTH - 1
        self.place = torch.where(done, 0, self.place)  # a new tensor: what was handed to the counters stays as it was
        return done.float() - 0.05, done


def advantages(rewards: torch.Tensor, values: torch.Tensor, dones: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Return generalised advantages, [STEPS, ENVS]."""
    found, ahead, after = torch.zeros_like(rewards), torch.zeros(ENVS), last
    for t in reversed(range(STEPS)):
        live = (~dones[t]).float()
        ahead = rewards[t] + 0.99 * after * live - values[t] + 0.99 * 0.95 * ahead * live
        found[t], after = ahead, values[t]
    return found


def main(runs: str) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(LENGTH, 32), torch.nn.Tanh(), torch.nn.Linear(32, len(MOVES) + 1))
    adam, envs, episodes = torch.optim.Adam(net.parameters(), lr=5e-3), Corridors(), 0
    chosen, forbidden = torch.zeros(len(MOVES), dtype=torch.int64), 0
    counters = DeviceCounters(CounterSpec(heads={"move": tuple(MOVES)}), device="cpu")
    with et.start_run(runs, name="masked-ppo", config={"envs": ENVS, "steps": STEPS, "lr": 5e-3}) as run:
        for batch in range(1, BATCHES + 1):
            kept = []
            with run.phase("rollout", batch_idx=batch), torch.no_grad():
                for _ in range(STEPS):
                    seen, masks = envs.observe()
                    logits, value = net(seen).split([len(MOVES), 1], dim=-1)
                    policy = Categorical(logits=logits.masked_fill(~masks, -1e9))
                    action = policy.sample()
                    reward, done = envs.step(action)
                    counters.record_step(action, masks, success=done)  # keeps references: nothing is computed here
                    kept.append((seen, masks, action, policy.log_prob(action), value[:, 0], reward, done))
                    chosen += torch.bincount(action, minlength=len(MOVES))
                    forbidden += int((~masks.all(dim=-1)).sum())
                last = net(envs.observe()[0])[:, -1]
            seen, masks, action, old, values, rewards, dones = map(torch.stack, zip(*kept, strict=True))
            gains, episodes = advantages(rewards, values, dones, last), episodes + int(dones.sum())
            returns, scaled = gains + values, (gains - gains.mean()) / (gains.std() + 1e-8)
            for _ in range(EPOCHS):
                logits, value = net(seen).split([len(MOVES), 1], dim=-1)
                policy = Categorical(logits=logits.masked_fill(~masks, -1e9))
                ratio = (policy.log_prob(action) - old).exp()
                policy_loss = -torch.min(ratio * scaled, ratio.clamp(0.8, 1.2) * scaled).mean()
                value_loss, entropy = (value[..., 0] - returns).square().mean(), policy.entropy().mean()
                adam.zero_grad()
                (policy_loss + 0.5 * value_loss - 0.01 * entropy).backward()
                adam.step()
            losses = {"policy_loss": policy_loss.item(), "value_loss": value_loss.item(), "entropy": entropy.item()}
            run.emit(et.events.PpoUpdateCompleted, batch_idx=batch, episodes_completed=episodes, lr=5e-3, **losses)
            counters.flush(batch_idx=batch)  # starts one copy to the host
            for snapshot in counters.poll():  # what has arrived by now
                emit_snapshot(run, snapshot, episodes_completed=episodes)
            print(f"batch {batch:>2}: mean reward {rewards.mean():+.3f}, {episodes} episodes")
        for snapshot in counters.close():
            emit_snapshot(run, snapshot, episodes_completed=episodes)
        run.results["mean_reward"] = rewards.mean().item()
    print(f"chosen: {dict(zip(MOVES, chosen.tolist(), strict=True))}")
    print(f"a move was forbidden in {forbidden} of {ENVS * STEPS * BATCHES} decisions\nrecorded in {run.folder}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "runs")
