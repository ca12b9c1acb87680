"""Statistics of learning equal those that a plain loop takes, cost six calls a step, and change nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from esper_telemetry.counters import CounterSpec, DeviceCounters, GradientWatch
from esper_telemetry.errors import CounterError
from tests.esper_telemetry.counters.launches import OnlyQueued


class Net(nn.Module):
    def __init__(self, layers=3, *, twice=False):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(layers))
        self.unused = nn.Linear(2, 2)
        self.twice = twice

    def forward(self, x):
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False) if self.twice else layer(x)
        return x


def watched(groups, optimizer, **options):
    watch = GradientWatch(groups, **options)
    bank = DeviceCounters(CounterSpec({}, scalars=watch.scalars), strict=True)
    watch.attach(optimizer, bank)
    return watch, bank


def learn(net, optimizer, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(8, 4, generator=generator)).square().mean().backward()
        yield
        optimizer.step()


def seeded(seed=0, **options):
    torch.manual_seed(seed)
    return Net(**options)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_norms_and_ratios_equal_those_of_a_plain_loop(kind):
    net = seeded()
    optimizer = kind(net.parameters(), lr=0.1)
    groups = {"first": net.layers[0].parameters(), "rest": [*net.layers[1:].parameters(), *net.unused.parameters()]}
    groups = {name: list(parameters) for name, parameters in groups.items()}
    _, bank = watched(groups, optimizer)
    expected = {name: ([], [], []) for name in groups}
    steps = learn(net, optimizer, 5)
    while next(steps, 1) is None:
        for name, parameters in groups.items():
            gradients = torch.cat([one.grad.reshape(-1) for one in parameters if one.grad is not None]).double()
            before = torch.cat([one.detach().reshape(-1) for one in parameters]).double()
            expected[name][0].append(gradients.norm().item())
            expected[name][1].append(gradients.abs().max().item())
            expected[name][2].append(before)
    found = bank.flush(batch_idx=1).result().scalars
    for name, parameters in groups.items():
        norms, largest, weights = expected[name]
        after = [*weights[1:], torch.cat([one.detach().reshape(-1) for one in parameters]).double()]
        ratios = [((one - before).norm() / before.norm()).item() for one, before in zip(after, weights, strict=True)]
        for what, values in (("grad_norm", norms), ("grad_max", largest), ("update_ratio", ratios)):
            summary = found[f"{what}/{name}"]
            assert summary.count == 5
            assert summary.mean == pytest.approx(sum(values) / 5, rel=1e-6)
            assert summary.max == pytest.approx(max(values), rel=1e-6)
        assert found[f"grad_finite/{name}"].mean == 1.0


@pytest.mark.parametrize(("bad", "number"), [(math.nan, 1), (math.inf, 3), (-math.inf, 16)])
def test_the_share_of_finite_gradients_counts_elements(bad, number):
    net = seeded()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    _, bank = watched({"first": [net.layers[0].weight], "rest": net.layers[1].parameters()}, optimizer, updates=False)
    for _ in learn(net, optimizer, 1):
        net.layers[0].weight.grad.view(-1)[:number] = bad
    found = bank.flush(batch_idx=1).result().scalars
    assert found["grad_finite/first"].mean == 1 - number / 16
    assert found["grad_finite/rest"].mean == 1.0
    assert found["grad_norm/first"].non_finite == 1
    assert found["grad_norm/rest"].non_finite == 0
    assert "update_ratio/first" not in bank.spec.scalars


@pytest.mark.parametrize("layers", [1, 50])
def test_a_step_costs_six_calls_however_many_parameters(layers):
    net = seeded(layers=layers)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    counts = []
    for attach in (False, True):
        if attach:
            watched(net, optimizer)
            list(learn(net, optimizer, 1))
        steps = learn(net, optimizer, 1)
        next(steps)
        with Count() as asked:
            next(steps, None)
        counts.append(asked.launches)
    assert counts[1] - counts[0] <= 6


class Count(OnlyQueued):
    """Counts the launches of an optimizer's step, whatever they are."""

    def __exit__(self, *exception):
        super(OnlyQueued, self).__exit__(*exception)


def test_a_fold_of_many_steps_asks_for_queued_work_only():
    net = seeded()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    _, bank = watched(net, optimizer)
    list(learn(net, optimizer, 300))
    with OnlyQueued():
        bank.flush(batch_idx=1)
    (found,) = bank.poll()
    assert found.scalars["grad_norm/all"].count == 300


def test_checkpointing_that_runs_a_forward_twice_counts_once():
    results = []
    for twice in (False, True):
        net = seeded(twice=twice)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        _, bank = watched(net, optimizer)
        list(learn(net, optimizer, 4))
        results.append(bank.flush(batch_idx=1).result().scalars)
    assert results[0] == results[1]
    assert results[0]["grad_norm/all"].count == 4


def test_a_compiled_model_is_watched_at_its_optimizer():
    net = seeded()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    compiled = torch.compile(net, backend="eager")
    list(learn(compiled, optimizer, 1))
    _, bank = watched(net, optimizer)
    list(learn(compiled, optimizer, 2))
    assert bank.flush(batch_idx=1).result().scalars["grad_norm/all"].count == 2


def test_steps_that_nobody_saw_are_said(caplog):
    net = seeded()
    optimizer, other = (torch.optim.SGD(net.parameters(), lr=0.1) for _ in range(2))
    _, bank = watched(net, optimizer)
    list(learn(net, other, 2))
    assert bank.flush(batch_idx=1).result().misuse == {"unseen": 1}
    assert "no step was seen" in caplog.text
    assert bank.flush(batch_idx=2).result().misuse == {}, "a batch without a step is no trouble"


def test_watching_changes_nothing_of_what_is_learned():
    weights = []
    for watch in (False, True):
        net = seeded()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
        if watch:
            _, bank = watched(net, optimizer)
        list(learn(net, optimizer, 10))
        if watch:
            bank.flush(batch_idx=1)
        weights.append(torch.cat([one.detach().reshape(-1) for one in net.parameters()]))
    assert torch.equal(*weights)


def test_a_gradient_that_cannot_be_watched_ends_the_watch_and_not_the_training():
    net = nn.Embedding(4, 2, sparse=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    _, bank = watched(net, optimizer)
    for _ in range(2):
        net(torch.tensor([1])).sum().backward()
        optimizer.step()
    found = bank.flush(batch_idx=1).result()
    assert (found.scalars, found.misuse) == ({}, {"unseen": 1})


def test_more_than_two_to_the_24_gradients_are_all_counted():
    parameter = nn.Parameter(torch.zeros(2**24 + 2))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    _, bank = watched({"all": [parameter]}, optimizer, updates=False)
    parameter.grad = torch.ones(2**24 + 2)
    optimizer.step()
    found = bank.flush(batch_idx=1).result().scalars
    assert found["grad_norm/all"].max == pytest.approx(math.sqrt(2**24 + 2), rel=1e-12)
    assert found["grad_finite/all"].max == 1.0


def test_what_cannot_be_watched_is_refused_with_its_cure():
    net = seeded()
    with pytest.raises(CounterError, match="group 'none' has no parameter"):
        GradientWatch({"none": []})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(CounterError, match=r"no scalar 'grad_norm/all'; give it scalars=watch\.scalars"):
        GradientWatch(net).attach(optimizer, DeviceCounters(CounterSpec({"op": 2})))


def test_param_groups_of_an_optimizer_are_groups():
    net = seeded()
    optimizer = torch.optim.SGD(
        [{"params": net.layers.parameters(), "name": "body"}, {"params": net.unused.parameters()}], lr=0.1
    )
    watch, bank = watched(optimizer.param_groups, optimizer)
    list(learn(net, optimizer, 1))
    found = bank.flush(batch_idx=1).result().scalars
    assert "grad_norm/body" in found
    assert "grad_norm/1" not in found, "it had no gradient"
    assert found["update_ratio/1"].max == 0.0
    watch.detach()
    list(learn(net, optimizer, 1))
    assert bank.flush(batch_idx=2).result().scalars == {}
