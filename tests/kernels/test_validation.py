import pytest
import torch

from difflut import kernels

X = torch.rand(4, 10, dtype=torch.float64)


def wiring(nodes, n):
    return torch.zeros(nodes, n, dtype=torch.int64)


def table(*shape):
    return torch.zeros(shape, dtype=torch.float64)


def fourier(x, wiring, table):
    return kernels.fourier(x, wiring, table, table)


@pytest.mark.parametrize(
    "x,wiring,table,message",
    [
        (X, wiring(3, 6), table(3, 1, 32), "n=6 needs tables of 64 entries, got 32"),
        (X, wiring(3, 9), table(3, 1, 512), "1 to 8 inputs, got n=9 from a wiring of shape"),
        (X, wiring(3, 2), table(5, 1, 4), "wiring has 3 nodes, but table has 5"),
        (X, wiring(3, 2).int(), table(3, 1, 4), "int64"),
        (X, wiring(3, 2), table(3, 4), r"\(nodes, outputs, 2\*\*n\), got \(3, 4\)"),
        (X[0], wiring(3, 2), table(3, 1, 4), r"\(batch, features\), got \(10,\)"),
        (X.float(), wiring(3, 2), table(3, 1, 4), "one dtype, got torch.float32 and torch.float64"),
        (X, wiring(3, 2) + 10, table(3, 1, 4), "reads inputs 10 to 10, but x has 10 features"),
        (X.to("meta"), wiring(3, 2), table(3, 1, 4), "one device"),
    ],
)
@pytest.mark.parametrize("operation", [kernels.lookup, kernels.multilinear, fourier])
def test_arguments_that_do_not_fit_are_an_error(operation, x, wiring, table, message):
    with pytest.raises(ValueError, match=message):
        operation(x, wiring, table)


def test_slope_must_have_the_shape_of_the_table():
    with pytest.raises(ValueError, match=r"\(3, 1, 4\) of torch.float64, got \(3, 2, 4\)"):
        kernels.lookup(X, wiring(3, 2), table(3, 1, 4), table(3, 2, 4))


def test_sines_must_have_the_shape_of_the_cosines():
    with pytest.raises(ValueError, match=r"\(3, 1, 4\) of torch.float64, got \(3, 2, 4\)"):
        kernels.fourier(X, wiring(3, 2), table(3, 1, 4), table(3, 2, 4))


def test_an_unknown_backend_is_an_error():
    with pytest.raises(ValueError, match="'fastest'; known: auto, reference"), kernels.use_backend("fastest"):
        pass


def test_reference_can_be_forced_and_serves_other_types():
    with kernels.use_backend("reference"):
        assert kernels.backend_for(X.float()).name == "reference"
    assert kernels.backend_for(X).name == "reference"
