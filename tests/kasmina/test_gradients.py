from __future__ import annotations

import math

import pytest
import torch

from esper.kasmina.gradients import GradientMonitor


def parameters(*gradients):
    made = [torch.nn.Parameter(torch.ones(len(gradient))) for gradient in gradients]
    for parameter, gradient in zip(made, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    return made


def test_the_ratio_is_per_root_parameter():
    monitor = GradientMonitor()
    monitor.observe(parameters([3.0, 0.0], [4.0, 0.0]), torch.tensor(2.0), host_params=16)
    assert float(monitor.ratio) == pytest.approx(5.0 / 2.0 * math.sqrt(16 / 4))


def test_the_ratio_is_capped_at_ten_and_smoothed():
    monitor = GradientMonitor()
    monitor.observe(parameters([1e9]), torch.tensor(1.0), host_params=1)
    assert float(monitor.ratio) == 10.0
    monitor.observe(parameters([1.0]), torch.tensor(1.0), host_params=1)
    assert float(monitor.ratio) == pytest.approx(0.9 * 10.0 + 0.1 * 1.0)


def test_a_host_without_a_gradient_does_not_spoil_the_ratio():
    monitor = GradientMonitor()
    monitor.observe(parameters([0.0]), torch.tensor(0.0), host_params=1)
    assert float(monitor.ratio) == 0.0


def test_nothing_is_measured_where_there_are_no_gradients():
    monitor = GradientMonitor()
    monitor.observe([torch.nn.Parameter(torch.ones(2))], torch.tensor(1.0), host_params=1)
    assert monitor.ratio is None
    assert monitor.pack([], "cpu").tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_gradient_that_is_not_finite_shows_until_the_epoch_is_over(bad):
    monitor = GradientMonitor()
    good = parameters([1.0, 1.0])
    monitor.observe(parameters([1.0, bad]), torch.tensor(1.0), host_params=1)
    monitor.observe(good, torch.tensor(1.0), host_params=1)
    assert not math.isfinite(monitor.pack(good, "cpu")[1])
    monitor.begin_epoch()
    monitor.observe(good, torch.tensor(1.0), host_params=1)
    assert math.isfinite(monitor.pack(good, "cpu")[1])
