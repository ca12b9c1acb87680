"""Action spaces become heads by their names and shapes; the real spaces are tried in tests/integrations."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from esper_telemetry.counters import CounterSpec, DeviceCounters, HostCounters, from_space
from esper_telemetry.errors import CounterError


def space(kind, **attributes):
    return type(kind, (SimpleNamespace,), {})(**attributes)


def discrete(n, start=0):
    return space("Discrete", n=n, start=start)


def test_each_kind_of_space_becomes_its_heads():
    assert from_space(discrete(3)) == {"action": range(3)}
    assert from_space(discrete(2, 5), name="op") == {"op": range(5, 7)}
    grid = space("MultiDiscrete", nvec=np.array([[2, 3]]), start=np.array([[0, 1]]))
    assert from_space(grid) == {"action_0": range(2), "action_1": range(1, 4)}
    assert from_space(space("MultiBinary", shape=(2, 1))) == {"action_0": range(2), "action_1": range(2)}
    nested = space("Dict", spaces={"move": space("Tuple", spaces=(discrete(2), grid)), "fire": discrete(2)})
    assert list(from_space(nested)) == ["move.0", "move.1_0", "move.1_1", "fire"]


def test_a_space_without_countable_options_is_refused_by_name():
    nested = space("Dict", spaces={"move": discrete(2), "speed": space("Box")})
    with pytest.raises(CounterError, match=r"'speed' is .*heads can be made of Discrete"):
        from_space(nested)


@pytest.mark.parametrize("kind", [DeviceCounters, HostCounters])
def test_options_that_begin_elsewhere_keep_their_numbers(kind):
    spec = CounterSpec(from_space(discrete(3, -1)))
    assert spec.heads == {"action": ("-1", "0", "1")}
    actions = np.array([-1, 0, 1, 1, 2, -2])
    bank = kind(spec)
    bank.record_step(torch.from_numpy(actions) if kind is DeviceCounters else actions, None)
    found = bank.flush(batch_idx=1).result()
    assert found.action_count == {"action": [1, 1, 2]}
    assert found.out_of_range == {"action": 2}


def test_a_range_with_gaps_is_refused():
    with pytest.raises(CounterError, match="options are range"):
        CounterSpec({"op": range(0, 6, 2)})
