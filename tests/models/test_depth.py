from functools import partial
from itertools import pairwise

import pytest
import torch

from difflut.models import network
from difflut.registry import ENCODERS, INITIALIZERS, LAYERS, NODES

# These have steady gradients with their own start. As residual ones a wave has no slope where it is 0 or 1 already, and
# DWN's published weights, 1 / (H + 1), add up to more than one.
OWN_START = {"fourier", "dwn_stable"}


@pytest.mark.parametrize("node", NODES)
def test_gradients_neither_vanish_nor_explode_over_eight_layers(node):
    node_type, outputs = NODES[node], []
    start = None if node in OWN_START else INITIALIZERS["residual"]
    options = {"node_type": node_type, "n": node_type.nearest_inputs(4), "node_kwargs": {"init_fn": start}}
    convolution = partial(LAYERS["random"], output_size=16, kernel_size=3, padding=1, channels_per_node=2, **options)
    head = partial(LAYERS["random"], output_size=100, **options)
    model = network((8, 8), 10, ENCODERS["thermometer"](num_bits=4), [convolution] * 8 + [head], tau=5.0)
    x = torch.rand(32, 8, 8, generator=torch.Generator().manual_seed(0))
    model.encoder.fit(x)

    def keep(module, inputs, output):
        output.retain_grad()
        outputs.append(output)

    for layer in model.layers[:-1]:
        layer.register_forward_hook(keep)
    torch.nn.functional.cross_entropy(model(x), torch.arange(32) % 10).backward()
    norms = [output.grad.norm(dim=0).mean() for output in outputs]
    assert 1 / 40 < norms[0] / norms[-1] < 40
    assert all(1 / 4 < before / after < 4 for before, after in pairwise(norms))
