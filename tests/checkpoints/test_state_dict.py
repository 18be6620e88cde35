"""Strict loading: what torch accepts as a scalar or another type is accepted, anything else is named."""

import pytest
import torch
from torch import nn

from bdgan_lib.checkpoints.state_dict import load_strict
from bdgan_lib.core.types import BdganError


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.tensor(0.5))
        self.row = nn.Parameter(torch.ones(1))
        self.norm = nn.BatchNorm2d(2)


def variants():
    whole = Scaled().state_dict()
    yield "as it is", whole
    yield "[1] for []", {key: x.reshape(1) if x.dim() == 0 else x for key, x in whole.items()}
    yield "half", {key: x.half() for key, x in whole.items()}  # a counter as a float, as in TensorFlow
    yield "[] for [1]", {**whole, "row": torch.tensor(1.0)}
    yield "[2] for []", {**whole, "gamma": torch.ones(2)}
    yield "[1, 1] for []", {**whole, "gamma": torch.ones(1, 1)}
    yield "missing", {key: x for key, x in whole.items() if key != "gamma"}


@pytest.mark.parametrize(("kind", "state"), variants())
def test_a_network_takes_what_torch_itself_loads_into_it(kind, state):
    try:
        Scaled().load_state_dict({key: x.clone() for key, x in state.items()})
        expected = kind != "[2] for []"  # torch takes the first of them
    except RuntimeError:
        expected = False
    with torch.device("meta"):
        network = Scaled()
    if not expected:
        with pytest.raises(BdganError, match="file, read so, does not fit: "):
            load_strict(network, state, "file, read so,")
        return
    load_strict(network, state, "file, read so,")
    own = Scaled().state_dict()
    assert {key: (x.dtype, x.shape) for key, x in network.state_dict().items()} == {
        key: (x.dtype, x.shape) for key, x in own.items()
    }
    assert all(torch.equal(x, own[key]) for key, x in network.state_dict().items())


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_no_weights(number):
    state = {**Scaled().state_dict(), "gamma": torch.tensor(number)}
    with pytest.raises(BdganError, match=r"weights\.bin: gamma holds numbers that are not finite"):
        load_strict(Scaled(), state, "weights.bin")
