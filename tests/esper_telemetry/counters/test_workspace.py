"""Scratch memory is kept on the CPU, up to a limit, and grows to the largest fold."""

from __future__ import annotations

import torch

from esper_telemetry.counters.step_counts import Workspace


def test_the_same_name_gives_the_same_memory():
    workspace = Workspace(torch.device("cpu"), 1000)
    first = workspace.empty("flags", 10, 20, torch.bool)
    second = workspace.empty("flags", 3, 8, torch.bool)
    other = workspace.empty("indices", 3, 8, torch.int8)
    assert (first.shape, second.shape) == ((10, 20), (3, 8))
    assert second.is_contiguous()
    assert first.data_ptr() == second.data_ptr() != other.data_ptr()


def test_memory_grows_when_more_is_needed():
    workspace = Workspace(torch.device("cpu"), 1000)
    workspace.empty("flags", 2, 2, torch.bool)
    large = workspace.empty("flags", 20, 20, torch.bool)
    assert workspace.empty("flags", 20, 20, torch.bool).data_ptr() == large.data_ptr()


def test_what_is_over_the_limit_or_on_a_device_is_not_kept():
    for workspace in (Workspace(torch.device("cpu"), 99), Workspace(torch.device("meta"), 1000)):
        assert workspace.empty("flags", 10, 10, torch.bool).shape == (10, 10)
        assert workspace._kept == {}


def test_memory_that_was_first_asked_for_under_inference_mode_can_be_written_to_outside_it():
    workspace = Workspace(torch.device("cpu"), 1000)
    with torch.inference_mode():
        workspace.empty("flags", 2, 2, torch.bool)
    workspace.empty("flags", 2, 2, torch.bool).zero_()
