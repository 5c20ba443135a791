from functools import partial

import pytest
import torch

from difflut.training.augmentations import shift
from difflut.training.teachers import convolutional, dense, trained

QUICK = {"epochs": 6, "batch_size": 32, "lr": 0.01}


def bars(rows=256):
    """Images with a bright line, horizontal or vertical; a label says which."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(2, (rows,), generator=generator)
    x = torch.randint(0, 60, (rows, 8, 8), dtype=torch.uint8, generator=generator)
    where = torch.randint(8, (rows,), generator=generator)
    for image, label, place in zip(x, y, where, strict=True):
        (image if label else image.t())[place] = 200
    return x, y


@pytest.mark.parametrize("network", [partial(convolutional, width=4), partial(dense, width=64)])
def test_a_teacher_learns_and_its_seed_decides_all(network):
    x, y = bars()
    before = torch.get_rng_state()
    first, again = (trained(network, x, y, 2, **QUICK) for _ in range(2))
    other = trained(network, x, y, 2, **QUICK | {"seed": 1})
    assert torch.equal(before, torch.get_rng_state()) and not first.training
    with torch.no_grad():
        logits = first(x)
        assert torch.equal(logits, again(x)) and logits.shape == (256, 2)
        assert not torch.equal(logits, other(x))
        assert (logits.argmax(1) == y).double().mean() > 0.9


def test_weights_alone_bring_a_teacher_back():
    x, y = bars()
    network = partial(convolutional, width=4)
    teacher = trained(network, x, y, 2, **QUICK | {"epochs": 1}, augmentation=shift)
    made = trained(network, x[:10], y[:10], 2, epochs=0)
    made.load_state_dict(teacher.state_dict())
    with torch.no_grad():
        assert torch.equal(made(x), teacher(x))


def test_tables_have_a_dense_teacher():
    x = torch.randn(193, 5)  # one row is left after batches of 32
    teacher = trained(partial(dense, width=32), x, (x[:, 0] > 0).long(), 2, **QUICK)
    with torch.no_grad():
        assert ((teacher(x).argmax(1) == 1) == (x[:, 0] > 0)).double().mean() > 0.9
    with pytest.raises(ValueError, match=r"needs images, got rows of shape \(5,\); take teachers.dense"):
        convolutional((5,), 2)


def test_a_teacher_sees_augmented_inputs_and_smoothed_labels():
    (x, y), seen = bars(), []
    network = partial(dense, width=64)

    def inverted(images, generator):
        seen.append(len(images))
        return 255 - images

    teacher = trained(network, x, y, 2, **QUICK, augmentation=inverted)
    assert sum(seen) == 1 + QUICK["epochs"] * len(x)  # a row at first, to see that it fits
    options = QUICK | {"epochs": 40, "weight_decay": 0.0}
    sure, unsure = (trained(network, x, y, 2, **options, label_smoothing=share) for share in (0.0, 0.4))
    with torch.no_grad():
        assert (teacher(255 - x).argmax(1) == y).double().mean() > 0.9
        probability = unsure(x).softmax(1).gather(1, y[:, None]).mean()
        assert abs(probability - 0.8) < 0.05 and sure(x).softmax(1).gather(1, y[:, None]).mean() > 0.95


@pytest.mark.parametrize("network", [partial(convolutional, width=4), partial(dense, width=32)])
def test_the_unit_of_the_inputs_does_not_matter(network):
    x, y = bars()
    x = x.double() if network.func is convolutional else x.double().flatten(1)
    teachers = [trained(network, inputs, y, 2, epochs=0) for inputs in (x, 4 * x - 1024)]
    assert teachers[0].mean.shape == (() if network.func is convolutional else (64,))
    with torch.no_grad():
        torch.testing.assert_close(teachers[0](x), teachers[1](4 * x - 1024), rtol=1e-4, atol=1e-5)
