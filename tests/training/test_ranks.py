"""Several processes train as one does."""

from functools import partial

import pytest
import torch

from difflut.layers import GroupSum
from difflut.models import LUTNetwork
from difflut.registry import ENCODERS, LAYERS, LOSSES, NODES, OPTIMIZERS
from difflut.training import Trainer, evaluate, ranks
from difflut.training.augmentations import shift
from difflut.training.ranks import Ranks
from tests.layers.making import make_layer
from tests.training.together import together

# Of 25 rows one process has 12 and the other 13; of the last batch, a single row, one has none.
ADAM = partial(OPTIMIZERS["adam"], lr=0.02)
ROWS, BATCH = 51, 25


def kind(node):
    return node.reads_bits, node.gives_bits, node.exact_gradient


def teacher(x):
    return x.double().flatten(1)[:, :3]


# Networks of all types of layers, with a node of each kind of training; and what else a step may have to do.
KINDS = {kind(node): name for name, node in reversed(list(NODES.items()))}.values()
CASES = {node: {"layers": tuple(LAYERS), "node": node, "epochs": 17} for node in KINDS}
CASES |= {
    "flips": {"layer_config": {"flip_probability": 0.2}},
    "layerwise": {"layer_config": {"grad_stabilization": "layerwise", "grad_subtract_mean": True}},
    "batchwise": {"layer_config": {"grad_stabilization": "batchwise"}},
    "noise by table": {"node": "light", "node_kwargs": {"noise": True}},
    "noise by row": {"node": "neurallut", "node_kwargs": {"noise": True}},
    "noisy gates": {"node": "difflogic", "node_kwargs": {"noise": True}},
    "gumbel": {"layers": ["learnable"], "selection": "soft", "gumbel": True},
    "factored": {"layers": ["learnable"], "node": "dwn", "dtype": torch.float32},
    "candidates": {"layers": ["learnable"], "top_k": 5},
    "convolution": {"layers": ["learnable"], "kernel_size": 2, "padding": 1},
    "regularized": {"node_kwargs": {"regularizers": {"l2": 0.5}}},
    "learned temperature": {"head": {"learn_tau": True}},
    "learnable thresholds": {"encoder": {"learnable": True}, "dtype": torch.float32, "epochs": 4},
    "augmented": {"augmentation": shift},
    "taught": {"loss": LOSSES["distillation"], "teacher": teacher},
    "frozen": {"freezes": [1, 1, 2], "dtype": torch.float32},
    "sgd": {"optimizer": partial(OPTIMIZERS["sgd"], lr=0.05)},
}
RECORDED = {"graph": True, "dtype": torch.float32, "epochs": 5}
CASES |= {f"recorded {node}": {"layers": tuple(LAYERS), "node": node, **RECORDED} for node in KINDS}
CASES |= {
    f"recorded, {name}": {**CASES[name], **RECORDED}
    for name in ("layerwise", "batchwise", "convolution", "augmented", "taught")
}


def data():
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(ROWS, 2, 2, 2, generator=generator)
    return x, (x.flatten(1)[:, :3]).argmax(1)


def trainer(
    layers=("random",), node="dwn_stable", head=None, loss=LOSSES["cross_entropy"], optimizer=ADAM,
    augmentation=None, teacher=None, freezes=None, graph=False, dtype=torch.float64, encoder=None, **options,
):  # fmt: skip
    """Of two convolutions side by side, layers each of which reads both, and a dense one that reads all these."""
    (x, y), nodes = data(), {"node_type": NODES[node], "n": NODES[node].nearest_inputs(3)}
    encoder = ENCODERS["distributive_thermometer"](num_bits=3, **encoder or {}).fit(x)
    shapes = {"encoder": (6, 2, 2)}
    front = {"reads": ["encoder"], "output_size": 6, "kernel_size": 1, **nodes}
    fronts = [LAYERS["random"](shapes, **front, seed=seed, name=name) for seed, name in enumerate("ab")]
    shapes |= {layer.name: layer.output_shape for layer in fronts}
    tested = [
        make_layer(layer, input_size=shapes, reads=["a", "b"], name=layer, **nodes, **options) for layer in layers
    ]
    shapes |= {layer.name: layer.output_shape for layer in tested}
    last = LAYERS["random"](shapes, 24, **nodes, seed=4, reads=list(layers))
    model = LUTNetwork(encoder, [*fronts, *tested, last], GroupSum(3, 2.0, **head or {})).to(dtype)
    torch.manual_seed(5)
    given = {"loss": loss, "augmentation": augmentation, "teacher": teacher, "freezes": freezes, "graph": graph}
    return Trainer(model, x, y, batch_size=BATCH, optimizer=optimizer, **given)


def trained(epochs=4, **case):
    """Parameters, metrics and scores after all epochs, and a random number that is drawn then."""
    found = trainer(**case)
    rows = [found.run_epoch() for _ in range(epochs)]
    metrics = torch.tensor([(row["train_loss"], row["train_accuracy"]) for row in rows], dtype=torch.float64)
    scores = evaluate(found.model, *data(), ranks=found.ranks)
    return list(found.model.parameters()), metrics, scores, torch.rand(1)


def passes_of_python():
    """The batches that Python passes through the network in each epoch, where steps are recorded."""
    seen, classify = [], LUTNetwork.classify
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LUTNetwork, "classify", lambda self, x: seen.append(len(x)) or classify(self, x))
        found, counts = trainer(layers=["learnable"], graph=True, dtype=torch.float32), []
        for _ in range(3):
            found.run_epoch()
            counts.append(len(seen))
            seen.clear()
    return counts


class PeculiarError(ValueError):
    """An error that cannot be made from text alone, as those that passed through Gin."""

    def __init__(self, what, why):
        super().__init__(f"{what} {why}")


def fail():
    raise PeculiarError("no", "luck")


def exchanged():
    """What the processes have of the first one, and how they see that they differ."""
    present, found = Ranks.present(), {}
    own = torch.nn.Linear(3, 2)
    with torch.no_grad():
        own.weight.fill_(present.number + 1.0)
    try:
        present.check_same(own.parameters())
    except RuntimeError as error:
        found["different"] = str(error)
    present.follow_first(own)
    present.check_same(own.parameters())
    found |= {"weight": own.weight.tolist(), "value": present.from_first(lambda: present.number)}
    try:
        present.from_first(fail)
    except ValueError as error:
        found["error"] = str(error)
    try:
        with present.united():
            if present.number == 1:
                fail()
    except ValueError as error:
        found["error of another"] = str(error)
    return found


def all_trained(cases):
    ranks.LARGE = 30  # weights, so that there are gradients of both sizes
    return {name: trained(**case) for name, case in cases.items()} | {
        "exchanged": exchanged(),
        "passes": passes_of_python(),
    }


@pytest.fixture(scope="module")
def by_two():
    return together(2, all_trained, CASES)


def test_processes_follow_the_first_one_and_notice_where_they_differ(by_two):
    for found in by_two:
        assert found["exchanged"] == {
            "different": "the parameters of the 2 processes are no longer the same",
            "weight": [[1.0] * 3] * 2,
            "value": 0,
            "error": "no luck",
            "error of another": "no luck",
        }


@pytest.mark.needs("c++")
def test_a_step_of_several_processes_is_repeated_without_python(by_two):
    # Two batches of a size are done by Python, the first and the one that is recorded.
    assert [found["passes"] for found in by_two] == 2 * [[3, 1, 0]]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_as_one(case, by_two):
    weights, metrics, scores, drawn = trained(**CASES[case])
    near = {"rtol": 0, "atol": 1e-4 if weights[0].dtype == torch.float32 else 1e-7}
    for found in by_two:
        others, other_metrics, other_scores, other_drawn = found[case]
        for one, other in zip(weights, others, strict=True):
            torch.testing.assert_close(one, other, **near)
        torch.testing.assert_close(metrics, other_metrics, **near)
        assert scores == other_scores and drawn == other_drawn
    assert all(torch.equal(*same) for same in zip(*(found[case][0] for found in by_two), strict=True))
