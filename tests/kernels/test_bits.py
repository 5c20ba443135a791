import torch

from difflut import kernels


def test_bits_are_known_until_something_else_is_written():
    x = kernels.mark_bits(torch.ones(3, 4))
    assert kernels.holds_bits(x) and not kernels.holds_bits(torch.ones(3, 4))
    assert not kernels.holds_bits(x + 1) and kernels.holds_bits(x)
    x.mul_(0.5)
    assert not kernels.holds_bits(x)


def test_bits_are_not_known_of_a_tensor_that_lies_in_other_memory():
    x = kernels.mark_bits(torch.rand(3, 4).round())
    x.data = torch.rand(3, 4)  # no write that torch counts
    assert not kernels.holds_bits(x)


def test_inference_tensors_are_never_known():
    with torch.inference_mode():
        assert not kernels.holds_bits(kernels.mark_bits(torch.ones(3)))


def test_tables_of_bits_give_bits():
    x, wiring = torch.rand(7, 10), torch.randint(10, (5, 3))
    hard, slope = kernels.binarize(torch.rand(5, 1, 8) - 0.5, torch.eye(8))
    assert kernels.holds_bits(hard) and not kernels.holds_bits(slope)
    assert kernels.holds_bits(kernels.lookup(x, wiring, hard, slope))
    assert not kernels.holds_bits(kernels.lookup(x, wiring, torch.rand(5, 1, 8), slope))
    logits = torch.rand(15, 4)
    assert kernels.holds_bits(kernels.learned_lookup(x, logits, hard, slope, torch.randint(10, (15, 4))))
    assert kernels.holds_bits(kernels.learned_lookup(x, torch.rand(10, 15), hard, slope))
