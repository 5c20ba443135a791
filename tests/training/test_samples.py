from functools import partial

import pytest
import torch

from difflut.models import network
from difflut.registry import AUGMENTATIONS, ENCODERS, LAYERS, NODES
from difflut.training import Trainer
from difflut.training.augmentations import affine, shift
from difflut.training.losses import cross_entropy, distillation
from difflut.training.schedules import adam
from tests.training.continuing import assert_goes_on


def teacher(x):
    means = x.float().flatten(1).mean(1)
    return torch.stack((means, 100 - means, means * 0), 1) / 50


def trainer(device="cpu", seed=0, **options):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randint(256, (150, 6, 6), dtype=torch.uint8, generator=generator), torch.arange(150) % 3
    encoder = ENCODERS["thermometer"](num_bits=2).fit(x)
    layers = [partial(LAYERS["random"], output_size=size, node_type=NODES["dwn"], n=3) for size in (60, 30)]
    model = network((6, 6), 3, encoder, layers, tau=2.0, seed=seed).to(device)
    options = {"augmentation": shift, "teacher": teacher, "loss": distillation} | options
    options["optimizer"] = partial(adam, lr=0.01)
    return Trainer(model, x.to(device), y.to(device), batch_size=32, seed=seed, **options)


def weights(trained):
    return torch.cat([parameter.detach().flatten().cpu() for parameter in trained.model.parameters()])


def test_each_epoch_sees_other_inputs_and_what_the_teacher_says_of_them():
    samples = trainer().samples
    original, seen = samples.x, []
    for epoch in (0, 1, 0):
        samples.begin(epoch)
        seen.append(samples.x)
        assert torch.equal(samples.taught, teacher(samples.x))
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], original)


def test_an_augmentation_that_cannot_be_fails_at_once():
    with pytest.raises(ValueError, match="interpolation='cubic' must be one of"):
        trainer(augmentation=partial(affine, interpolation="cubic"))


def test_without_augmentation_the_teacher_is_asked_once():
    asked = []
    samples = trainer(augmentation=None, teacher=lambda x: asked.append(len(x)) or teacher(x)).samples
    for epoch in range(3):
        samples.begin(epoch)
    assert asked == [150] and samples.version == 0


def test_a_batch_has_the_labels_and_the_lessons_of_its_rows():
    trained = trainer(augmentation=None)
    rows = {tuple(x.flatten().tolist()): y.item() for x, y in zip(trained.samples.x, trained.samples.y, strict=True)}
    for _, (x, y, taught) in trained.batches():
        assert [rows[tuple(image.flatten().tolist())] for image in x] == y.tolist()
        assert torch.equal(taught, teacher(x))


def weighted(logits, y, *others):
    return (torch.nn.functional.cross_entropy(logits, y, reduction="none") * others[-1]).mean()


@pytest.mark.parametrize("teacher", [None, teacher])
def test_a_batch_has_the_weights_of_its_rows(teacher):
    given = torch.arange(150) / 70
    trained = trainer(augmentation=None, teacher=teacher, loss=weighted, weights=given)
    rows = {tuple(x.flatten().tolist()): w.item() for x, w in zip(trained.samples.x, given, strict=True)}
    for _, (x, *_, weights_of_batch) in trained.batches():
        assert [rows[tuple(image.flatten().tolist())] for image in x] == weights_of_batch.tolist()
    assert trained.run_epoch()["train_loss"] > 0


def test_rows_without_weight_are_not_learned_from():
    given = (torch.arange(150) % 2).double()
    one, other = (trainer(augmentation=None, teacher=None, loss=weighted, weights=given) for _ in range(2))
    other.samples.y[::2] = 2 - other.samples.y[::2]
    assert one.run_epoch()["train_loss"] == other.run_epoch()["train_loss"]
    assert torch.equal(weights(one), weights(other))
    assert one.samples.digest != trainer(augmentation=None, teacher=None).samples.digest


def test_weights_are_one_for_each_row_and_not_for_what_does_not_look_at_them():
    with pytest.raises(ValueError, match=r"150 inputs and weights of shape \(9,\); give one for each row"):
        trainer(weights=torch.ones(9))
    with pytest.raises(ValueError, match="weights of rows have no effect with a refinement"):
        trainer(weights=torch.ones(150), refinement=lambda model: None)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_a_continued_run_sees_what_the_uninterrupted_one_does(augmentation):
    assert_goes_on(partial(trainer, augmentation=augmentation), epochs=3, stop=1)


@pytest.mark.cuda
@pytest.mark.parametrize(
    "options", [{}, {"augmentation": None}, {"teacher": None, "loss": partial(cross_entropy, label_smoothing=0.1)}]
)
def test_graph_and_plain_path_see_the_same(options):
    results = []
    for graph in (False, True):
        trained = trainer("cuda", graph=graph, **options)
        losses = [trained.run_epoch()["train_loss"] for _ in range(3)]
        results.append((losses, weights(trained)))
    (losses, plain), (same, replayed) = results
    assert losses == pytest.approx(same, rel=2e-3)
    torch.testing.assert_close(plain, replayed, rtol=0, atol=2e-2)  # 15 steps of Adam in two roundings
