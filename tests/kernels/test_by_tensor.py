import gc

import torch

from difflut.kernels.by_tensor import ByTensor


def test_a_value_belongs_to_one_tensor_and_not_to_an_equal_one():
    values: ByTensor[str] = ByTensor()
    x, same = torch.ones(3), torch.ones(3)
    values.set(x, "first")
    values.set(x, "second")
    assert values.get(x) == "second" and values.get(same) is None and values.get(x.view_as(x)) is None
    assert values.pop(same) is None and values.pop(x) == "second"
    assert values.get(x) is None and len(values) == 0


def test_values_are_forgotten_with_their_tensors():
    values: ByTensor[int] = ByTensor()
    kept = torch.ones(3)
    values.set(kept, 7)
    for number in range(100):  # each may lie where an earlier one did
        x = torch.full((3,), float(number))
        assert values.get(x) is None
        values.set(x, number)
        assert values.get(x) == number
    del x
    gc.collect()
    assert len(values) == 1 and values.get(kept) == 7
