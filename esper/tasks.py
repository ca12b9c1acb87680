"""What is learned: images, labels and their split, with the batch size and the host that suit them.

A task is the same in every run: its split and its noise come from constants, so accuracies of different runs
use the same images. The order of the training batches is the loop's, drawn from its own generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from esper.cifar10 import DataError, read_cifar10

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

SPLIT_SEED = 20_260_101
DIGITS_TRAIN, DIGITS_VAL = 320, 797
DIGITS_NOISE = 0.5
CIFAR_VAL = 5_000
CIFAR_MEAN = (0.4914, 0.4822, 0.4465)  # of the training images, by channel
CIFAR_STD = (0.2470, 0.2435, 0.2616)


class TaskError(ValueError):
    """A task cannot be had."""


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W) float32 and labels (N,) int64, on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, generator: torch.Generator | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate once: shuffled by the generator and without a last, smaller batch; or all, in order."""
        if generator is None:
            yield from zip(torch.split(self.images, size), torch.split(self.labels, size), strict=True)
            return
        order = torch.randperm(len(self), generator=generator).to(self.labels.device)
        for indices in torch.split(order[: len(self) // size * size], size):
            yield self.images[indices], self.labels[indices]


@dataclass(frozen=True)
class Task:
    """Data and presets; `test` is for the end of an episode, and no gate reads it."""

    name: str
    train: Split
    val: Split
    test: Split
    classes: int
    batch_size: int
    eval_batch_size: int
    max_epochs: int
    host_channels: tuple[int, int, int] = (8, 16, 32)

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return self.train.images.shape[1]


def digits(device: str) -> Task:
    """scikit-learn's 1,797 images of digits, 8x8, made hard: 320 to train on, and noise.

    Without both, the host saturates at 98 % and next to nothing passes G2.
    """
    from sklearn.datasets import load_digits

    pixels, targets = load_digits(return_X_y=True)
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    order = torch.randperm(len(targets), generator=generator)
    images = torch.as_tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8)[order]
    labels = torch.as_tensor(targets, dtype=torch.int64)[order]
    known = images[:DIGITS_TRAIN]
    images = (images - known.mean()) / known.std()
    images = images + DIGITS_NOISE * torch.randn(images.shape, generator=generator)
    train, val, test = _split(images.to(device), labels.to(device), DIGITS_TRAIN, DIGITS_VAL)
    return Task("digits", train, val, test, classes=10, batch_size=32, eval_batch_size=1024, max_epochs=75)


def synthetic(device: str) -> Task:
    """Four noisy prototypes, 8x8: learns in seconds, for tests."""
    classes, total = 4, 320
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    labels = torch.randint(classes, (total,), generator=generator)
    prototypes = torch.randn((classes, 1, 8, 8), generator=generator)
    images = prototypes[labels] + 1.5 * torch.randn((total, 1, 8, 8), generator=generator)
    train, val, test = _split(images.to(device), labels.to(device), 96, 128)
    return Task("synthetic", train, val, test, classes=classes, batch_size=32, eval_batch_size=256, max_epochs=30)


def cifar10(device: str, data_dir: str | Path = "data") -> Task:
    """The 60,000 photographs of CIFAR-10, 32x32 in colour; 5,000 of the training images validate.

    Raises:
        TaskError: If the files are missing or not the official ones.
    """
    try:
        known, test = read_cifar10(data_dir)
    except DataError as error:
        raise TaskError(str(error)) from error
    order = torch.randperm(len(known.labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    mean = torch.tensor(CIFAR_MEAN).reshape(1, 3, 1, 1)
    deviation = torch.tensor(CIFAR_STD).reshape(1, 3, 1, 1)

    def split(images: Tensor, labels: Tensor) -> Split:
        scaled = images.to(torch.float32).div_(255.0).sub_(mean).div_(deviation)
        return Split(scaled.to(device), labels.to(device))

    images, labels = torch.as_tensor(known.images)[order], torch.as_tensor(known.labels)[order]
    train = split(images[CIFAR_VAL:], labels[CIFAR_VAL:])
    val = split(images[:CIFAR_VAL], labels[:CIFAR_VAL])
    unseen = split(torch.as_tensor(test.images), torch.as_tensor(test.labels))
    return Task("cifar10", train, val, unseen, classes=10, batch_size=128, eval_batch_size=1000, max_epochs=75)


def _split(images: Tensor, labels: Tensor, train: int, val: int) -> tuple[Split, Split, Split]:
    sizes = [train, val, len(labels) - train - val]
    first, second, third = zip(torch.split(images, sizes), torch.split(labels, sizes), strict=True)
    return Split(*first), Split(*second), Split(*third)


TASKS: Mapping[str, Callable[..., Task]] = {"digits": digits, "cifar10": cifar10, "synthetic": synthetic}
"""Loaders by name; each takes the device in PyTorch's form, those of `FROM_FILES` the folder of their files."""

FROM_FILES = frozenset({"cifar10"})


def load_task(name: str, device: str = "cpu", data_dir: str | Path = "data") -> Task:
    """Load a task onto a device.

    Args:
        name: One of `TASKS`.
        device: In PyTorch's form.
        data_dir: Where the files of a task are that is read from files.

    Raises:
        TaskError: If the task is unknown, or its files are missing or not what they should be.
    """
    if name not in TASKS:
        raise TaskError(f"unknown task {name!r}: choose one of {', '.join(TASKS)}")
    return TASKS[name](device, data_dir) if name in FROM_FILES else TASKS[name](device)
