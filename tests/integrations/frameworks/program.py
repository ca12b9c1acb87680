"""One training of a framework, as its users write it, that ends by an exception or by a signal from outside.

    python program.py FRAMEWORK with|without RUNS

It prints `training` when the loop runs, then a line for each thing that the framework and the program do at the end.
What it prints, and its exit status, must not depend on whether the run is recorded. A run that is switched off would be
no control: `without` never imports the SDK.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tick = Callable[[int], None]

ENDLESS = 1_000_000


def say(line: str) -> None:
    """Print a line at once: a process that dies of a signal writes no buffer."""
    print(line, flush=True)  # noqa: T201 - the test reads what the program prints


class TrainingError(Exception):
    """The error of the training."""


def lightning(tick: Tick) -> None:
    import torch
    from lightning.pytorch import Callback, LightningModule, Trainer

    class Model(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            tick(batch_idx)
            return self.layer(batch[0]).sum()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    class Ends(Callback):
        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            say(f"on_exception {type(exception).__name__}")

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            say("on_train_end")

        def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
            say(f"teardown {stage}")

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(64, 4)), batch_size=2)
    trainer = Trainer(
        max_epochs=ENDLESS,
        accelerator="cpu",
        logger=False,
        callbacks=[Ends()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Model(), data)
    say("fit returned")


def sb3(tick: Tick) -> None:
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback

    class Ends(BaseCallback):
        def _on_step(self) -> bool:
            tick(self.n_calls)
            return True

        def _on_training_end(self) -> None:
            say("on_training_end")

    PPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=32, device="cpu").learn(ENDLESS, callback=Ends())
    say("learn returned")


def hf(tick: Tick) -> None:
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def forward(self, x: Any, labels: Any = None) -> Any:
            return {"loss": self.layer(x).sum()}

    class Ends(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            tick(state.global_step)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            say("on_train_end")

    rows = [{"x": torch.ones(4), "labels": torch.zeros(1)} for _ in range(64)]
    arguments = TrainingArguments(
        output_dir=f"{sys.argv[3]}-hf",
        max_steps=ENDLESS,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
    )
    Trainer(Model(), arguments, train_dataset=rows, callbacks=[Ends()]).train()
    say("train returned")


def torchrl(tick: Tick) -> None:
    import torch
    from tensordict.nn import TensorDictModule
    from torchrl.collectors import Collector
    from torchrl.envs import GymEnv, SerialEnv
    from torchrl.modules import MLP, ProbabilisticActor

    environments = SerialEnv(2, lambda: GymEnv("CartPole-v1", categorical_action_encoding=True))
    scores = TensorDictModule(MLP(4, 2, depth=1, num_cells=8), ["observation"], ["logits"])
    policy = ProbabilisticActor(
        scores, in_keys=["logits"], out_keys=["action"], distribution_class=torch.distributions.Categorical
    )
    collector = Collector(environments, policy, frames_per_batch=16, total_frames=-1)
    try:
        for number, _ in enumerate(collector):
            tick(number)
    finally:
        collector.shutdown()
        say("collector shut down")


FRAMEWORKS: dict[str, Callable[[Tick], None]] = {"lightning": lightning, "sb3": sb3, "hf": hf, "torchrl": torchrl}


@contextlib.contextmanager
def recording(runs: str) -> Iterator[Callable[[int], None]]:
    import esper_telemetry as et

    with et.start_run(runs, name="framework") as run:

        def emit(step: int) -> None:
            run.emit(et.events.ScalarLogged, name="step", value=float(step), step=step)

        yield emit


@contextlib.contextmanager
def nothing(_runs: str) -> Iterator[Callable[[int], None]]:
    yield lambda _step: None


def main(framework: str, recorded: str, runs: str, ending: str) -> None:
    counter = itertools.count(1)
    atexit.register(say, "atexit")
    with (recording if recorded == "with" else nothing)(runs) as emit:

        def tick(step: int) -> None:
            emit(step)
            count = next(counter)
            if count == 3:
                say("training")
            if ending == "exception" and count == 5:
                raise TrainingError("after five steps")
            time.sleep(0.002)

        try:
            FRAMEWORKS[framework](tick)
        finally:
            say("finally of the program")
    say("the program went on")


if __name__ == "__main__":
    main(*sys.argv[1:5])
