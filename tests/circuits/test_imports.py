"""Networks of other libraries against the circuits that are made of them.

Where a library has no CPU form or does not install without CUDA, its layers are written anew here from its published
formulas, with the state dict that it has.
"""

import importlib

import numpy as np
import pytest
import torch
from torch import nn

from difflut.circuits import from_difflogic, from_torch_dwn, from_torchlogix


def assert_same(circuit, model, x):
    with torch.no_grad():
        wanted = model.eval()(x).numpy()
    assert len(np.unique(wanted)) > 4
    np.testing.assert_array_equal(circuit(x.numpy()), wanted)


class GroupSum(nn.Module):
    """Of difflogic and of torch_dwn."""

    def __init__(self, k, tau=1.0, randperm=None):
        super().__init__()
        self.k, self.tau, self.randperm = k, tau, randperm

    def forward(self, x):
        x = x if self.randperm is None else x[:, self.randperm]
        x = nn.functional.pad(x, (0, -x.shape[1] % self.k))
        return x.reshape(len(x), self.k, -1).sum(-1) / self.tau


class LUTLayer(nn.Module):
    """Of torch_dwn: the first input is the lowest bit of the address, and bits are 1 where they are positive."""

    def __init__(self, inputs, outputs, n, learnable=False):
        super().__init__()
        self.luts = nn.Parameter(torch.rand(outputs, 2**n) * 2 - 1)
        if learnable:
            self.mapping = nn.Module()
            self.mapping.weights = nn.Parameter(torch.rand(inputs, outputs * n))
        else:
            self.mapping = nn.Parameter(torch.randint(inputs, (outputs, n), dtype=torch.int32), requires_grad=False)

    def forward(self, x):
        outputs, entries = self.luts.shape
        n = entries.bit_length() - 1
        learned = isinstance(self.mapping, nn.Module)
        mapping = self.mapping.weights.argmax(0).view(outputs, n) if learned else self.mapping.long()
        address = ((x[:, mapping] > 0) << torch.arange(n)).sum(-1)
        return (self.luts[torch.arange(outputs), address] > 0).float()


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("tables", [40, 43])
def test_torch_dwn_with_a_thermometer(learnable, tables):
    thresholds = torch.randn(6, 5).sort(1).values
    permutation = torch.randperm(tables)
    head = GroupSum(4, tau=2.3, randperm=permutation)
    layers = nn.Sequential(LUTLayer(30, 50, 6, learnable), LUTLayer(50, tables, 3), head)
    circuit = from_torch_dwn(layers.state_dict(), thresholds, 4, 2.3, permutation)
    x = torch.randn(300, 6)
    x[0, 0], x[1] = float("nan"), thresholds[:, 2]

    def model(x):
        return layers((x[..., None] > thresholds).float().flatten(1))

    model.eval = lambda: model
    assert_same(circuit, model, x)


@pytest.mark.needs("torch_dwn", "cuda")
def test_torch_dwn_itself():
    torch_dwn = importlib.import_module("torch_dwn")
    layers = (torch_dwn.LUTLayer(20, 40, 6, "learnable"), torch_dwn.LUTLayer(40, 30, 2))
    model = nn.Sequential(*layers, torch_dwn.GroupSum(3, 1.5)).cuda().eval()
    x = torch.randint(2, (300, 20)).float()
    with torch.no_grad():
        wanted = model(x.cuda()).cpu().numpy()
    np.testing.assert_array_equal(from_torch_dwn(model.state_dict(), 20, 3, 1.5)(x.numpy()), wanted)


# The gates in the order of their numbers, as the paper lists them: values at (a, b) = (0, 0), (0, 1), (1, 0), (1, 1).
GATES = ["0000", "0001", "0010", "0011", "0100", "0101", "0110", "0111",
         "1000", "1001", "1010", "1011", "1100", "1101", "1110", "1111"]  # fmt: skip


class LogicLayer(nn.Module):
    """Of difflogic."""

    def __init__(self, inputs, outputs, device="cpu"):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(outputs, 16, device=device))
        self.indices = torch.randint(inputs, (outputs,)), torch.randint(inputs, (outputs,))

    def forward(self, x):
        gates = torch.tensor([[int(digit) for digit in gate] for gate in GATES])
        a, b = (x[:, pins].long() for pins in self.indices)
        return gates[self.weights.argmax(1), 2 * a + b].float()


def difflogic_itself():
    return importlib.import_module("difflogic").LogicLayer


@pytest.mark.parametrize(
    "layer", [lambda: LogicLayer, pytest.param(difflogic_itself, marks=pytest.mark.needs("difflogic"))]
)
def test_difflogic(layer):
    layers = [layer()(20, 60, device="cpu"), layer()(60, 48, device="cpu")]
    model = nn.Sequential(*layers, GroupSum(4, 3.3))
    circuit = from_difflogic(model.state_dict(), [layer.indices for layer in layers], 20, 4, 3.3)
    assert_same(circuit, model, torch.randint(2, (300, 20)).float())


torchlogix = pytest.mark.needs("torchlogix")
parametrizations = pytest.mark.parametrize(
    ("parametrization", "n"), [("raw", 2), ("warp", 2), ("warp", 4), ("light", 2), ("light", 4)]
)


def of_torchlogix(*layers):
    """A sequence with random weights."""
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "weight" in name:
                weight.normal_()
    return model


@torchlogix
@parametrizations
def test_torchlogix_dense(parametrization, n):
    library = importlib.import_module("torchlogix.layers")
    options = {"lut_rank": n, "parametrization": parametrization}
    learnable = {"connections": "learnable", "connections_kwargs": {"num_candidates": 8}}
    layers = library.LogicDense(30, 60, **options), library.LogicDense(60, 50, **options, **learnable)
    model = of_torchlogix(*layers, nn.Sequential(nn.Dropout(), library.GroupSum(5, tau=3.7)))
    assert_same(from_torchlogix(model, (30,)), model, torch.randint(2, (300, 30)).float())


@torchlogix
@parametrizations
@pytest.mark.parametrize("channelwise", [False, True])
def test_torchlogix_convolutional(parametrization, n, channelwise):
    library = importlib.import_module("torchlogix.layers")
    options = {"lut_rank": n, "parametrization": parametrization}
    thresholds = torch.randn(*((2, 3) if channelwise else (3,))).sort(-1).values
    model = of_torchlogix(
        library.FixedBinarization(thresholds, feature_dim=1),
        library.LogicConv2d((9, 8), 6, 8, tree_depth=2, receptive_field_size=3, padding=1, **options),
        library.OrPooling2d(3, 2, padding=1),
        library.LogicConv2d((5, 4), 8, 7, tree_depth=3, receptive_field_size=2, stride=2, **options),
        nn.Flatten(),
        library.LogicDense(28, 60, **options),
        library.GroupSum(4, tau=2.0, beta=3),
    )
    assert_same(from_torchlogix(model, (2, 9, 8)), model, torch.randn(300, 2, 9, 8))


@torchlogix
def test_torchlogix_windows_that_are_not_square():
    library = importlib.import_module("torchlogix.layers")
    convolution = library.LogicConv2d((6, 7), 2, 4, tree_depth=2, receptive_field_size=(3, 2))
    model = of_torchlogix(convolution, nn.Flatten(), library.GroupSum(4, tau=2.0))
    assert_same(from_torchlogix(model, (2, 6, 7)), model, torch.randint(2, (300, 2, 6, 7)).float())


@torchlogix
def test_torchlogix_learned_thresholds_of_each_feature():
    library = importlib.import_module("torchlogix.layers")
    thresholds = torch.randn(6, 4).sort(1).values
    model = of_torchlogix(
        library.LearnableBinarization(thresholds), library.LogicDense(24, 40), library.GroupSum(4, tau=2.0)
    )
    assert_same(from_torchlogix(model, (6,)), model, torch.randn(300, 6))


@torchlogix
def test_what_torchlogix_has_and_a_circuit_has_not_is_named():
    library = importlib.import_module("torchlogix.layers")
    head = library.GroupSum(4, beta=0.5)
    with pytest.raises(ValueError, match=r"GroupSum.beta = 0.5 must be a whole number"):
        from_torchlogix(nn.Sequential(library.LogicDense(8, 8), head), (8,))
    with pytest.raises(ValueError, match="Linear is no layer that a circuit of torchlogix can be made of"):
        from_torchlogix(nn.Sequential(nn.Linear(8, 8), library.GroupSum(4)), (8,))
    with pytest.raises(ValueError, match="the last layer must be a GroupSum"):
        from_torchlogix(nn.Sequential(library.LogicDense(8, 8)), (8,))


def test_a_state_dict_that_does_not_fit_is_refused():
    layer = LUTLayer(30, 50, 6)
    with pytest.raises(ValueError, match=r"0\.mapping reads input 29, but there are 20 before it"):
        from_torch_dwn(nn.Sequential(layer).state_dict(), 20, 4)
    state = nn.Sequential(LUTLayer(20, 50, 6)).state_dict()
    state["0.mapping"][3, 2] = -4
    with pytest.raises(ValueError, match=r"0\.mapping reads input -4, but there are 20 before it, from 0 on"):
        from_torch_dwn(state, 20, 4)
    with pytest.raises(ValueError, match="the state dict has no LUTLayer"):
        from_torch_dwn(nn.Linear(2, 2).state_dict(), 20, 4)
    gates = LogicLayer(20, 40)
    with pytest.raises(ValueError, match="the state dict has 1 LogicLayers, got the indices of 0"):
        from_difflogic(nn.Sequential(gates).state_dict(), [], 20, 4)
    with pytest.raises(ValueError, match="40 outputs cannot be divided among 7 classes"):
        from_difflogic(nn.Sequential(gates).state_dict(), [gates.indices], 20, 7)
