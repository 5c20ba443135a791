import pytest
import torch

from difflut.registry import NODES, REGULARIZERS


def node_with(regularizers=None, n=3):
    torch.manual_seed(1)
    return NODES["probabilistic"](n, 2, width=10, regularizers=regularizers)


@pytest.mark.parametrize(("name", "p"), [("l1", 1), ("l2", 2), ("l", 2), ("functional", 2)])
def test_functional_regularizers_match_their_definition(name, p):
    node = node_with()
    table = node.soft_table()
    differences = [(table[..., a] - table[..., a ^ (1 << bit)]).abs() ** p for a in range(8) for bit in range(3)]
    torch.testing.assert_close(REGULARIZERS[name](node), torch.stack(differences).mean())


@pytest.mark.parametrize("name", ["spectral", "walsh", "fourier"])
def test_spectral_regularizer_matches_its_definition(name):
    node = node_with()
    table = node.soft_table()
    total = 0
    for subset in range(8):
        signs = torch.tensor([(-1.0) ** (subset & a).bit_count() for a in range(8)])
        total = total + subset.bit_count() * ((table * signs).mean(-1) ** 2)
    torch.testing.assert_close(REGULARIZERS[name](node), total.mean())


def test_with_equal_degree_weights_the_spectrum_is_plain_l2():
    node = node_with()
    torch.testing.assert_close(REGULARIZERS["spectral"](node, degree_power=0.0), (node.soft_table() ** 2).mean())


@pytest.mark.parametrize("name", ["l1", "l2", "spectral"])
@pytest.mark.parametrize("node_type", NODES)
def test_descending_a_regularizer_makes_every_node_type_smoother(name, node_type):
    torch.manual_seed(0)
    node = NODES[node_type](NODES[node_type].nearest_inputs(3), 1, width=20, regularizers={name: REGULARIZERS[name]})
    optimizer = torch.optim.Adam(node.parameters(), lr=0.05)
    before = node.regularization().item()
    for _ in range(30):
        optimizer.zero_grad()
        node.regularization().backward()
        optimizer.step()
    assert node.regularization().item() < 0.7 * before


def test_weights_and_arguments_are_applied():
    l = REGULARIZERS["l"]  # noqa: E741
    plain = node_with({"a": (l, 0.5, {"p": 1.0}), "b": (l, 2.0)})
    torch.testing.assert_close(plain.regularization(), 0.5 * REGULARIZERS["l1"](plain) + 2 * REGULARIZERS["l2"](plain))


@pytest.mark.parametrize(
    ("name", "argument", "said"),
    [("l", {"p": 0.5}, "p=0.5 must"), ("spectral", {"degree_power": -1.0}, "degree_power=-1")],
)
def test_exponents_without_a_finite_gradient_are_refused(name, argument, said):
    with pytest.raises(ValueError, match=said):
        REGULARIZERS[name](node_with(), **argument)


@pytest.mark.parametrize("p", [1.0, 1.5])
def test_equal_entries_have_a_finite_gradient(p):
    node = NODES["dwn"](3, 1, width=4)
    node.load_table(torch.rand(4, 1, 8).round())
    REGULARIZERS["l"](node, p=p).backward()
    assert node.values.grad.isfinite().all() and node.values.grad.any()
