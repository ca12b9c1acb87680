"""What leaves a device leaves it in one copy, unchanged."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from esper.simic.transfer import to_host


class Copies(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.made = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.made += str(func) == "aten._to_copy.default" and "device" in (kwargs or {})
        return func(*args, **(kwargs or {}))


def test_shapes_and_values_survive():
    tensors = [torch.arange(6).reshape(2, 3), torch.tensor(0.1), torch.tensor([True, False]), torch.zeros(0)]
    out = to_host(tensors)
    assert [piece.shape for piece in out] == [tensor.shape for tensor in tensors]
    assert out[0].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert out[1].item() == torch.tensor(0.1).item()
    assert out[2].tolist() == [1.0, 0.0]


def test_several_tensors_are_one_copy():
    with Copies() as copies:
        to_host([torch.ones(3), torch.ones(2, 2), torch.ones(())])
    assert copies.made == 1


def test_gradients_stay_behind():
    (out,) = to_host([torch.ones(2, requires_grad=True) * 2.0])
    assert not out.requires_grad
