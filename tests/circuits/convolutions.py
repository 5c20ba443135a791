"""Networks with convolution, pooling, trees, skips and several heads."""

from functools import partial

import torch

from difflut.layers import GroupSum
from difflut.models import LUTNetwork, network
from difflut.registry import ENCODERS, LAYERS, NODES

SHAPE = (6, 5, 2)  # height, width, channels
KINDS = ("plain", "strided", "pooled", "skips", "tree", "heads")


def convolution(kind="plain", node="dwn", n=4, seed=0, shape=SHAPE, detectors=None):
    """A network in evaluation mode, and images `(samples, height, width, channels)` for it."""
    torch.manual_seed(seed)
    images = torch.randint(256, (200, *shape), dtype=torch.uint8)
    encoder = ENCODERS["distributive_thermometer"](num_bits=3, detectors=detectors).fit(images)
    head = partial(GroupSum, reads=["early", "late"] if kind == "heads" else None)
    model: LUTNetwork = network(shape, 3, encoder, _layers(kind, node, n), tau=2.5, seed=seed, group_sum=head)
    return model.eval(), images


def _layers(kind, node, n):
    bank = partial(LAYERS["random"], node_type=NODES[node], n=n)
    first = partial(bank, output_size=6, kernel_size=3, padding=1, name="first")
    dense = partial(bank, output_size=30)
    return {
        "plain": [first, partial(bank, output_size=5, kernel_size=(2, 3)), dense],
        "strided": [partial(first, stride=(2, 1), padding=(2, 0)), partial(first, stride=2, name="second"), dense],
        "pooled": [
            first,
            partial(LAYERS["pool"], operation="majority", relaxation="smoothed", kernel_size=(2, 3), stride=2),
            dense,
        ],
        "skips": [
            first,
            partial(first, name="second"),
            partial(LAYERS["merge"], reads=["first", "second"], name="both"),
            partial(bank, output_size=5, kernel_size=2, reads=["both", "encoder"]),
            dense,
        ],
        "tree": [first, partial(LAYERS["tree"], node_type=NODES[node], n=2), dense],
        "heads": [
            first,
            partial(dense, name="early", reads=["first"]),
            partial(dense, name="late", reads=["first", "early"]),
        ],
    }[kind]
