import pytest
import torch

from difflut import kernels
from difflut.kernels import PlacedWiring, Placements
from tests.kernels.operations import BACKENDS, LAYOUTS, device_of
from tests.kernels.test_placements import CASES

EVERY_BACKEND = ["reference", *BACKENDS]


def plain(x, wiring, least):
    """What torch does with the inputs written down."""
    inputs = kernels.gather(x, wiring)
    y = inputs.amin(1) if least else inputs.amax(1)
    return y.reshape(-1, len(x)).t()


def evaluated(operation, x, grad):
    x = x.detach().requires_grad_()
    y = operation(x)
    return y.detach(), *torch.autograd.grad(y, x, grad)


@pytest.mark.parametrize("backend", EVERY_BACKEND)
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("least", [False, True])
@pytest.mark.parametrize("n,batch", [(1, 3), (4, 128), (4, 131), (8, 33)])
@pytest.mark.parametrize("placements", [*CASES, Placements(37), Placements(5, 6, 6, (2, 2), (2, 2))], ids=str)
def test_is_the_largest_input_whose_gradient_ties_share(make_placed_bank, placements, n, batch, least, binary, backend):
    device = "cpu" if backend == "reference" else device_of(backend)
    bank = make_placed_bank(placements, n, 1, batch, binary)
    wiring = PlacedWiring(bank.wiring.to(device), placements)
    x, grad = LAYOUTS["strided"](bank.x.to(device)), bank.grad.to(device)
    expected = evaluated(lambda x: plain(x, wiring, least), x, grad)

    def operation(x):
        return kernels.maximum(kernels.mark_bits(x) if binary else x, wiring, least=least)

    with kernels.use_backend("reference" if backend == "reference" else "auto"):
        found = evaluated(operation, x, grad)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=1e-5)


@pytest.mark.cuda
@pytest.mark.parametrize("batch", [5, 128])
def test_packed_bits_are_read_as_floats_are_and_stay_packed_for_the_next_bank(make_placed_bank, batch):
    placements = Placements(5, 6, 6, (2, 2), (2, 2))
    bank = make_placed_bank(placements, 4, 1, batch, binary=True)
    x, wiring = kernels.mark_bits(bank.x.cuda()), PlacedWiring(bank.wiring.cuda(), placements)
    y = kernels.maximum(kernels.Bits(kernels.cuda.pack(x), batch), wiring)
    assert torch.equal(y, plain(x, wiring, False))
    assert kernels.holds_bits(y)
    assert torch.equal(kernels.cuda.pack(y), kernels.cuda.pack(y.clone()))


@pytest.mark.parametrize("backend", EVERY_BACKEND)
def test_what_is_no_number_stays_none(backend):
    device = "cpu" if backend == "reference" else device_of(backend)
    x = torch.tensor([[1.0, torch.nan, 2.0, 3.0]], device=device)
    y = kernels.maximum(x, torch.tensor([[0, 1], [1, 2], [2, 3]], device=device))
    assert y.isnan().tolist() == [[True, True, False]]


def test_says_what_does_not_fit():
    with pytest.raises(ValueError, match="1 to 8 inputs, got n=9"):
        kernels.maximum(torch.rand(2, 20), torch.zeros(3, 9, dtype=torch.int64))
    with pytest.raises(ValueError, match="wiring reads inputs 0 to 4, but x has 4 features"):
        kernels.maximum(torch.rand(2, 4), torch.tensor([[0, 4]]))
