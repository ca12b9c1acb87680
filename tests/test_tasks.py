from __future__ import annotations

import numpy as np
import pytest
import torch

from esper.cifar10 import Images
from esper.tasks import TaskError, load_task


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_a_task_is_the_same_in_every_run_and_leaves_the_random_state_alone(name):
    torch.manual_seed(1)
    first = load_task(name)
    torch.manual_seed(2)
    expected = torch.rand(3)
    torch.manual_seed(2)
    second = load_task(name)
    assert torch.equal(torch.rand(3), expected)
    for split in ("train", "val", "test"):
        assert torch.equal(getattr(first, split).images, getattr(second, split).images)
        assert torch.equal(getattr(first, split).labels, getattr(second, split).labels)


def test_digits_holds_every_real_image_once():
    task = load_task("digits")
    assert [len(split) for split in (task.train, task.val, task.test)] == [320, 797, 680]
    images = torch.cat([split.images for split in (task.train, task.val, task.test)])
    assert images.shape == (1797, 1, 8, 8)
    assert len(images.unique(dim=0)) == 1797
    assert task.in_channels == 1


def test_digits_is_standardised_and_noisy():
    images = load_task("digits").train.images
    assert float(images.mean()) == pytest.approx(0.0, abs=0.02)
    # Unit variance of the images and 0.25 of the noise.
    assert float(images.var()) == pytest.approx(1.25, abs=0.03)


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_labels_fit_the_classes(name):
    task = load_task(name)
    for split in (task.train, task.val, task.test):
        assert split.labels.dtype == torch.int64
        assert set(split.labels.tolist()) <= set(range(task.classes))


def test_training_batches_are_full_shuffled_and_drawn_from_their_own_generator():
    split = load_task("synthetic").train
    torch.manual_seed(3)
    order = [
        torch.cat([labels for _, labels in split.batches(40, torch.Generator().manual_seed(seed))])
        for seed in (1, 1, 2)
    ]
    assert len(order[0]) == 80
    assert torch.equal(order[0], order[1])
    assert not torch.equal(order[0], order[2])


def test_whole_passes_give_every_sample_in_order():
    split = load_task("synthetic").val
    seen = list(split.batches(50))
    assert [len(labels) for _, labels in seen] == [50, 50, 28]
    assert torch.equal(torch.cat([images for images, _ in seen]), split.images)


def test_an_unknown_task_is_named_with_the_known_ones():
    with pytest.raises(TaskError, match=r"'mnist'.*digits"):
        load_task("mnist")


def test_cifar10_is_normalised_and_split_without_a_loss(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    count = 60
    train = Images(rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), np.arange(count) % 10)
    test = Images(rng.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8), np.arange(20) % 10)
    monkeypatch.setattr("esper.tasks.read_cifar10", lambda _folder: (train, test))
    monkeypatch.setattr("esper.tasks.CIFAR_VAL", 10)
    task = load_task("cifar10", data_dir=tmp_path)
    assert [len(split) for split in (task.train, task.val, task.test)] == [50, 10, 20]
    assert task.in_channels == 3
    red = task.test.images[:, 0] * 0.2470 + 0.4914
    assert torch.allclose(red, torch.as_tensor(test.images[:, 0]) / 255.0, atol=1e-6)
    known = torch.cat([task.train.labels, task.val.labels])
    assert torch.equal(known.bincount(), torch.as_tensor(train.labels).bincount())


def test_missing_files_of_cifar10_are_explained(tmp_path):
    with pytest.raises(TaskError, match="get cifar-10-python"):
        load_task("cifar10", data_dir=tmp_path)
