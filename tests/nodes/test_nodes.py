import copy
import inspect
import pickle

import pytest
import torch

from difflut.nodes import NodeConfig, relaxed
from difflut.registry import INITIALIZERS, NODES, REGULARIZERS

CASES = [(name, n) for name in NODES for n in (1, 2, 3, 6, 8) if n in NODES[name].inputs]
NOISY = [name for name in NODES if {"noise", "straight_through"} <= inspect.signature(NODES[name]).parameters.keys()]


def make(name, n, nodes=5, outputs=2, **options):
    torch.manual_seed(n)
    return NODES[name](input_dim=n, output_dim=outputs, width=nodes * outputs, **options)


def random_bits(batch, node):
    features = 2 * node.input_dim + 3
    wiring = torch.randint(features, (node.num_nodes, node.input_dim))
    return torch.rand(batch, features).round(), wiring


def read(table, x, wiring):
    addresses = (x[:, wiring] >= 0.5).long() @ (2 ** torch.arange(wiring.shape[1]))
    return torch.stack([table[node, :, addresses[:, node]].T for node in range(len(table))], dim=1).flatten(1)


@pytest.mark.parametrize(("name", "n"), CASES)
def test_evaluation_is_the_truth_table(name, n):
    node = make(name, n).eval()
    x, wiring = random_bits(17, node)
    table = node.truth_table()
    assert table.shape == (5, 2, 2**n) and table.dtype == torch.bool
    assert 0 < table.double().mean() < 1
    assert torch.equal(node(x, wiring), read(table.float(), x, wiring))


@pytest.mark.parametrize(("name", "n"), CASES)
def test_at_bits_the_relaxed_form_is_the_soft_table(name, n):
    node = make(name, n).eval()
    x, wiring = random_bits(17, node)
    table = node.truth_table().float() if node.gives_bits else node.soft_table()
    with relaxed(node), torch.no_grad():
        torch.testing.assert_close(node(x, wiring), read(table, x, wiring), rtol=0, atol=1e-5)
    assert not node.is_relaxed


@pytest.mark.parametrize(("name", "n"), CASES)
def test_every_parameter_and_input_gets_a_gradient_at_bits(name, n):
    # The identity, as which some types start, depends on one input only.
    node = make(name, n, init_fn=INITIALIZERS["normal"])
    x, wiring = random_bits(64, node)
    x.requires_grad_()
    (node(x, wiring) * torch.randn(64, 10)).sum().backward()
    used = torch.zeros(x.shape[1], dtype=torch.bool)
    used[wiring] = True
    assert (x.grad[:, used].abs().sum(0) > 0).all()
    for parameter in node.parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("name", [name for name in NODES if NODES[name].exact_gradient])
def test_smooth_nodes_have_the_gradients_of_their_function(name):
    node = make(name, NODES[name].nearest_inputs(2), nodes=3).double()
    wiring = torch.tensor([[0, 1, 3, 2], [1, 3, 0, 2], [2, 2, 1, 0]])[:, : node.input_dim]
    x = torch.rand(4, 4, dtype=torch.double, requires_grad=True)
    parameters = dict(node.named_parameters())

    def function(x, *values):
        values = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(node, values, (x, wiring))

    assert torch.autograd.gradcheck(function, (x, *parameters.values()), atol=1e-6)


@pytest.mark.parametrize(("name", "n"), CASES)
def test_every_node_type_can_start_as_the_identity_of_its_first_input(name, n):
    node = make(name, n, init_fn=INITIALIZERS["residual"], init_kwargs={"clarity": 0.8})
    first_bit = torch.arange(2**n) % 2
    torch.testing.assert_close(node.soft_table().detach(), (0.2 + 0.6 * first_bit).expand(5, 2, -1), rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", NODES)
def test_a_type_says_whether_it_holds_every_table(name):
    node = make(name, NODES[name].nearest_inputs(4))
    table = torch.rand_like(node.soft_table()) * 0.9 + 0.05
    node.load_table(table)
    assert torch.allclose(node.soft_table(), table, rtol=0, atol=1e-5) == node.holds_every_table


@pytest.mark.parametrize("name", NODES)
def test_a_type_says_whether_training_reads_bits_and_gives_bits(name):
    node = make(name, NODES[name].nearest_inputs(3))
    soft, wiring = torch.rand(40, 2 * node.input_dim + 3), random_bits(1, node)[1]
    seen = []
    for x in (soft, soft.round()):
        torch.manual_seed(0)
        x = x.requires_grad_()
        output = node(x, wiring)
        seen.append([output, *torch.autograd.grad(output.square().sum(), (x, *node.parameters()))])
    assert all(torch.equal(*pair) for pair in zip(*seen, strict=True)) == node.reads_bits
    assert (set(seen[0][0].unique().tolist()) <= {0.0, 1.0}) == node.gives_bits


@pytest.mark.parametrize("name", NODES)
def test_other_numbers_of_inputs_than_those_of_its_type_are_refused(name):
    allowed = NODES[name].inputs
    with pytest.raises(ValueError, match=r"a node may have .* inputs, got input_dim=9"):
        make(name, 9)
    assert all(NODES[name].nearest_inputs(n) == n for n in allowed) and NODES[name].nearest_inputs(99) == max(allowed)


@pytest.mark.parametrize("name", NODES)
def test_a_node_alone_is_a_bank_of_one(name):
    n = NODES[name].nearest_inputs(2)
    config = NodeConfig(input_dim=n, output_dim=1, regularizers={"l2": REGULARIZERS["l2"]})
    node = NODES[name](**config.to_dict())
    assert node(torch.rand(7, n)).shape == (7, 1)
    assert node.num_nodes == 1 and node.regularization() > 0


@pytest.mark.parametrize("name", NODES)
def test_a_node_says_how_it_was_made(name):
    n = NODES[name].nearest_inputs(2)
    node = make(name, n)
    torch.manual_seed(n)
    again = type(node)(**node.get_params())
    for old, new in zip(node.parameters(), again.parameters(), strict=True):
        assert torch.equal(old, new)
    copies = [copy.deepcopy(node), pickle.loads(pickle.dumps(node))]
    assert all(torch.equal(node.soft_table(), other.soft_table()) for other in copies)


def test_finite_differences_of_dwn_match_their_definition():
    n = 4
    node = make("dwn", n, nodes=1, outputs=1)
    values = node.values.detach()[0, 0]
    x = torch.rand(50, n).round().requires_grad_()
    upstream = torch.randn(50, 1)
    node(x).backward(upstream)
    expected = _difference_gradient(values, x, upstream, lambda h: 0.5 * 0.75 ** (n - 1) * (1 / 3) ** h)
    torch.testing.assert_close(x.grad, expected)


def test_finite_differences_of_dwn_stable_match_their_definition_and_the_table_is_scaled():
    n = 4
    node = make("dwn_stable", n, nodes=1, outputs=1, gradient_scale=0.25)
    x = torch.rand(50, n).round().requires_grad_()
    upstream = torch.randn(50, 1)
    node(x).backward(upstream)
    table = node.soft_table().detach()[0, 0]
    torch.testing.assert_close(x.grad, _difference_gradient(table, x, upstream, lambda h: 1 / (h + 1)))
    by_address = torch.zeros(2**n).index_add(0, (x.detach().long() @ (2 ** torch.arange(n))), upstream[:, 0])
    torch.testing.assert_close(node.logits.grad[0, 0], 0.25 * by_address * table * (1 - table))


def _difference_gradient(table, x, upstream, weight):
    n = x.shape[1]
    gradient = torch.zeros_like(x)
    for row in range(len(x)):
        for bit in range(n):
            for k in range(2**n):
                bits = [(k >> j) & 1 for j in range(n)]
                distance = sum(bits[j] != int(x[row, j]) for j in range(n) if j != bit)
                gradient[row, bit] += upstream[row, 0] * (1 if bits[bit] else -1) * weight(distance) * table[k]
    return gradient.detach()


def test_dwn_keeps_its_values_within_one():
    node = make("dwn", 3)
    with torch.no_grad():
        node.values.mul_(10)
    node(torch.rand(2, 15))
    assert node.values.abs().max() == 1


@pytest.mark.parametrize("temperature", [0.25, 1.0])
@pytest.mark.parametrize("name", NOISY)
def test_noise_draws_each_bit_as_often_as_the_soft_table_says(name, temperature):
    n = NODES[name].nearest_inputs(2)
    node = make(name, n, nodes=400, outputs=1, noise=True, straight_through=True, temperature=temperature)
    x = (torch.arange(2**n)[:, None] >> torch.arange(n) & 1).float()
    wiring = torch.arange(n).expand(400, n)
    with torch.no_grad():
        share = torch.stack([node(x, wiring) for _ in range(100)]).mean(0)
        expected = node.soft_table()[:, 0].T
    # 100 draws of each bit: a standard deviation of at most 0.05, and of 0.00125 for their mean over nodes and bits.
    assert (share - expected).abs().max() < 0.25
    assert ((share - expected) * (expected - 0.5)).mean().abs() < 0.003


@pytest.mark.parametrize("name", NOISY)
def test_noise_acts_in_training_only_and_straight_through_gives_bits(name):
    node = make(name, 2, noise=True, straight_through=True)
    x = torch.rand(40, 10).round()
    first, second = node(x), node(x)
    assert not torch.equal(first, second)
    assert set(first.unique().tolist()) <= {0.0, 1.0}
    with relaxed(node.eval()):
        assert torch.equal(node(x), node(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_dim": 9}, "PolyLUT: a node may have 1, 2, 3, 4, 5, 6, 7, 8 inputs, got input_dim=9"),
        ({"output_dim": 0}, "output_dim=0 must be at least 1"),
        ({"output_dim": 2, "width": 5}, "width=5 is not a positive multiple of output_dim=2"),
        ({"degre": 2}, "degre"),
        ({"degree": 0}, "degree=0 must be at least 1"),
        ({"input_dim": 4, "degree": 5}, "degree=5 must be at most n=4"),
        ({"regularizers": {"l2": None}}, "regularizer 'l2' must be a function"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        NODES["polylut"](**arguments)


@pytest.mark.parametrize("argument", ["temperature", "max_amplitude"])
@pytest.mark.parametrize("value", [0.0, -1.5])
def test_a_number_that_must_be_positive_is_named(argument, value):
    refused = []
    for node_type in NODES.values():
        if argument in inspect.signature(node_type).parameters:
            with pytest.raises(ValueError, match=f"{node_type.__name__}: {argument}={value} must be positive"):
                node_type(**{argument: value})
            refused.append(node_type)
    assert refused


@pytest.mark.parametrize("depth", [1, 3])
def test_a_skip_spans_no_more_layers_than_there_are(depth):
    assert len(NODES["neurallut"](depth=depth, skip_interval=depth + 1).skips) == 1
    with pytest.raises(ValueError, match=f"skip_interval={depth + 2} must be at most {depth + 1}, the layers of depth"):
        NODES["neurallut"](depth=depth, skip_interval=depth + 2)


def test_every_number_of_inputs_has_a_polynomial_of_default_degree():
    assert [NODES["polylut"](input_dim=n).coefficients.shape[-1] for n in (1, 2, 4)] == [2, 4, 11]


def test_inputs_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"5 nodes of n=3 need 15 inputs, got \(2, 14\)"):
        make("dwn", 3)(torch.rand(2, 14))
