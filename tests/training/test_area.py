from functools import partial

import pytest
import torch

from difflut.circuits import Circuit, estimate_cost, simplify
from difflut.circuits.arithmetic.words import fixed_point_words
from difflut.layers import GroupSum
from difflut.models import LUTNetwork, network
from difflut.registry import ENCODERS, LAYERS, NODES
from difflut.training import Trainer, evaluate
from difflut.training.area import Area
from difflut.training.schedules import adam
from tests.training.continuing import assert_goes_on

LEARNABLE = LAYERS["learnable"]


def data(rows=400):
    x = torch.randn(rows, 5, generator=torch.Generator().manual_seed(4))
    return x, (x[:, 0] > 0.2).long() + (x[:, 1] > -0.3).long()


def model(layers, bits=4):
    torch.manual_seed(0)
    encoder = ENCODERS["distributive_thermometer"](num_bits=bits).fit(data()[0])
    return network((5,), 3, encoder, layers, tau=2.0)


def begun(network, price=1.0):
    area = Area(network, price)
    area.begin(data()[0])
    return area


NETWORKS = {
    "one layer": [partial(LEARNABLE, output_size=6, node_type=NODES["dwn"], n=3)],
    "candidates": [partial(LEARNABLE, output_size=6, node_type=NODES["dwn"], n=3, top_k=4)],
    "two layers": [
        partial(LEARNABLE, output_size=7, node_type=NODES["dwn"], n=3),
        partial(LEARNABLE, output_size=6, node_type=NODES["dwn"], n=2, top_k=5),
    ],
    "side by side": [
        partial(LAYERS["random"], output_size=4, node_type=NODES["dwn"], n=2),
        partial(LEARNABLE, output_size=6, node_type=NODES["dwn"], n=3, reads=["encoder", "0"]),
    ],
}


def counted_readers(network):
    """The readers of each signal, one pin at a time: bits of the encoder, then outputs of layers."""
    bits = network.encoder.output_size
    starts = [bits + sum(layer.output_size for layer in network.layers[:i]) for i in range(len(network.layers))]
    readers, pins = {}, []
    for signal in range(starts[-1], starts[-1] + network.layers[-1].output_size):
        readers[signal] = 1
    for number in reversed(range(len(starts))):
        hard = network.layers[number].hard()
        for node, (wiring, table) in enumerate(zip(hard.wiring.tolist(), hard.tables[:, 0], strict=True)):
            for pin, read in enumerate(wiring):
                addresses = torch.arange(len(table))
                changes = (table[addresses] != table[addresses ^ 1 << pin]).any()
                if changes and readers.get(starts[number] + node, 0):
                    signal = signal_of(network, starts, number, read)
                    readers[signal] = readers.get(signal, 0) + 1
                    pins.append((number, node, pin, signal))
    return readers, pins, starts


def signal_of(network, starts, number, read):
    for source in network.graph.sources[number]:
        size = network.encoder.output_size if source < 0 else network.layers[source].output_size
        if read < size:
            return read + (0 if source < 0 else starts[source])
        read -= size
    raise AssertionError


@pytest.mark.parametrize("name", NETWORKS)
def test_a_logit_gets_what_its_choice_would_cost(name):
    network = model(NETWORKS[name])
    table = network.layers[-1].node.truth_table().float()
    table[0] = 1  # a constant, which reads nothing
    network.layers[-1].node.load_table(table)
    area = begun(network)
    area().backward()
    readers, pins, starts = counted_readers(network)
    makes = area._makes.tolist()
    assert min(makes) < max(makes)
    reading = {(number, node, pin): signal for number, node, pin, signal in pins}
    for number, layer in enumerate(network.layers):
        if (choices := layer.choices()) is not None and choices.shape[2] == 1:
            continue
        grad = layer.logits.grad
        grad = (grad.t() if choices is None else grad).view(layer.output_size, layer.n, -1)
        for node, pins_of_node in enumerate(grad.tolist()):
            for pin, found in enumerate(pins_of_node):
                mine = reading.get((number, node, pin))
                for k, value in enumerate(found):
                    read = k if choices is None else int(choices[node, pin, k])
                    signal = signal_of(network, starts, number, read)
                    others = readers.get(signal, 0) - (mine == signal)
                    assert value == (makes[signal] if mine is not None and not others else 0)


@pytest.mark.parametrize("name", NETWORKS)
def test_entries_get_the_slope_of_deviations_and_shares(name):
    network = model(NETWORKS[name])
    begun(network)().backward()
    values = network.layers[-1].node.values
    area, layer = begun(network), network.layers[-1]
    readers, pins, _ = counted_readers(network)
    table = layer.node.truth_table().float()[:, 0].requires_grad_()
    total = ((1 + area.vote) * 2 * table.var(1, correction=0).sqrt()).sum()
    makes, addresses = area._makes, torch.arange(table.shape[1])
    for number, node, pin, signal in pins:
        if number == len(network.layers) - 1 and readers[signal] == 1:
            difference = table[node] - table[node, addresses ^ 1 << pin]
            total = total + makes[signal] * difference.square().mean().sqrt()
    total.backward()
    assert table.grad.abs().max() > 0.1
    torch.testing.assert_close(values.grad[:, 0], table.grad / 2, rtol=1e-3, atol=1e-3)  # values are in [-1, 1]


def luts(network):
    circuit, _ = simplify(Circuit.from_model(network))
    return estimate_cost(circuit, fixed_point_words(circuit))


@pytest.mark.parametrize("node", NODES)
def test_descending_the_cost_leaves_fewer_luts(node):
    torch.manual_seed(0)
    kinds = NODES[node]
    layers = [partial(LEARNABLE, output_size=size, node_type=kinds, n=kinds.nearest_inputs(3)) for size in (20, 18)]
    network = model(layers)
    area, before = begun(network), luts(network).total
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        area().backward()
        optimizer.step()
    assert luts(network).total < 0.8 * before


def test_a_priced_training_costs_less_and_learns():
    def trained(**options):
        x, y = data()
        layers = [partial(LEARNABLE, output_size=30, node_type=NODES["dwn"], n=4)]
        trainer = Trainer(model(layers, 20), x, y, batch_size=50, optimizer=partial(adam, lr=0.02), **options)
        for _ in range(15):
            trainer.run_epoch()
        return evaluate(trainer.model, x, y)["accuracy_hard"], luts(trainer.model)

    (_, plain), (accuracy, priced) = trained(), trained(cost=partial(Area, price=0.003))
    assert priced.encoder < 0.8 * plain.encoder and priced.total < plain.total and accuracy > 0.85


def test_a_continued_run_is_the_uninterrupted_one():
    def trainer():
        x, y = data()
        layers = [partial(LEARNABLE, output_size=12, node_type=NODES["dwn"], n=3, node_kwargs={"regularizers": ["l2"]})]
        made, cost = model(layers), partial(Area, price=0.01)
        return Trainer(made, x, y, batch_size=50, optimizer=partial(adam, lr=0.02), cost=cost)

    assert_goes_on(trainer, epochs=4, stop=2)


def test_what_the_cost_cannot_count_is_refused():
    dense = LAYERS["random"](8, 6, "dwn", 2, seed=1)
    with pytest.raises(ValueError, match="price=0 must be above 0"):
        Area(LUTNetwork(None, [dense], GroupSum(3)), price=0)
    with pytest.raises(ValueError, match="counts votes, and the network has no group sum"):
        Area(LUTNetwork(None, [dense]))
    image = LAYERS["random"]((2, 4, 4), 6, "dwn", 2, kernel_size=2, seed=1)
    with pytest.raises(ValueError, match=r"layers\[0\] is a convolution; the cost of area needs dense layers"):
        Area(LUTNetwork(None, [image], GroupSum(3)))
