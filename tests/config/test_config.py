import copy
import importlib
import pickle
import sys

import gin
import pytest

import experiments  # noqa: F401
from difflut import config
from difflut.models import LUTNetwork, build_model, describe
from difflut.registry import DATASETS, JOBS, KINDS, LOSSES, NODES

FILE = """
run.job = @train
train.network = @network
train.optimizer = @optimizers.adam
network.encoder = @encoders.thermometer()
encoders.thermometer.num_bits = 2
network.layers = [@hidden/layers.learnable, @output/layers.random]
layers.learnable.node_type = @nodes.polylut
layers.random.node_type = @nodes.dwn
hidden/nodes.polylut.input_dim = 4
hidden/nodes.polylut.degree = 3
hidden/nodes.polylut.regularizers = {'smooth': (@regularizers.l, 0.1)}
regularizers.l.p = 3
nodes.dwn.input_dim = 6
nodes.dwn.init_fn = @initializers.residual
initializers.residual.clarity = 0.75
hidden/layers.learnable.output_size = 20
hidden/layers.learnable.top_k = 4
output/layers.random.output_size = 12
output/layers.random.layer_config = @layers.LayerConfig()
layers.LayerConfig.flip_probability = 0.25
"""


@pytest.fixture
def gin_file(tmp_path):
    path = tmp_path / "experiment.gin"
    path.write_text(FILE)
    return str(path)


def build() -> LUTNetwork:
    return gin.get_configurable("network")(input_shape=(8,), num_classes=3, seed=0)


def test_every_component_has_a_gin_name():
    named = {id(component) for component in config.gin_names().values()}
    for registry in KINDS:
        assert len(registry) > 0
        assert {id(component) for component in registry.values()} <= named or registry is DATASETS
    for name, component in config.gin_names().items():
        assert gin.config.ConfigurableReference(name, evaluate=False).configurable.wrapped is component


def test_what_is_bound_to_a_component_that_is_a_default_takes_effect(gin_file):
    config.parse([gin_file], ["layers.GroupSum.tau_end = 0.25", "losses.cross_entropy.label_smoothing = 0.5"])
    assert build().groupsum.tau_end == 0.25
    assert "train.loss = @losses.cross_entropy" in config.parsed_config()
    config.parse([gin_file], ["network.group_sum = @half/layers.GroupSum", "half/layers.GroupSum.tau_end = 0.5"])
    assert build().groupsum.tau_end == 0.5
    config.parse([gin_file])
    assert build().groupsum.tau_end is None and "GroupSum" not in config.parsed_config()


def test_scopes_reach_the_node_inside_the_layer(gin_file):
    config.parse([gin_file])
    hidden, output = build().layers
    assert (hidden.n, hidden.node.degree, hidden.top_k, hidden.input_size) == (4, 3, 4, 16)
    assert (output.n, output.input_size, output.layer_config.flip_probability) == (6, 20, 0.25)
    assert output.node.soft_table().unique().tolist() == [0.25, 0.75]
    assert hidden.node.regularizers["smooth"].weight == 0.1
    assert type(hidden.node) is NODES["polylut"]


def test_what_gin_builds_can_be_described_and_copied(gin_file):
    config.parse([gin_file])
    model = build()
    assert describe(build_model(describe(model))) == describe(model) == describe(copy.deepcopy(model))


def test_what_gin_builds_can_be_pickled_unless_it_holds_functions_that_gin_bound(gin_file):
    config.parse([gin_file], ["hidden/nodes.polylut.regularizers = {}", "nodes.dwn.init_fn = None"])
    model = build()
    assert describe(pickle.loads(pickle.dumps(model))) == describe(model)


def test_parameters_are_stronger_than_files_and_later_files_than_earlier_ones(gin_file, tmp_path):
    second = tmp_path / "second.gin"
    second.write_text("encoders.thermometer.num_bits = 3\nnodes.dwn.input_dim = 2\n")
    config.parse([gin_file, str(second)], ["nodes.dwn.input_dim = 5"])
    model = build()
    assert model.encoder.num_bits == 3 and model.layers[1].n == 5


def test_the_operative_configuration_parses_to_itself(gin_file, tmp_path):
    config.parse([gin_file])
    first = build()
    text = config.operative_config()
    again = tmp_path / "config.gin"
    again.write_text(text + "\nrun.job = @train\n")
    config.parse([str(again)])
    second = build()
    assert str(second) == str(first)
    assert config.operative_config() == text


def test_python_code_meets_no_hidden_defaults(gin_file):
    config.parse([gin_file])
    assert NODES["dwn"]().init_fn is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nodes.dnw.input_dim = 6", "'nodes.dnw'; did you mean 'nodes.dwn'"),
        ("nodes.polylut.degre = 6", "degre"),
        ("layers.random.node_type = @nodes.dnw", "'@nodes.dnw'; did you mean 'nodes.dwn'"),
        ("train.loss = @losses.distilation", "'@losses.distilation'; did you mean 'losses.distillation'"),
        ("trian.epochs = 3", "'trian'; did you mean 'train'"),
        ("hidden/layers.learnable.topk = 6", "named 'topk'; did you mean 'top_k'"),
        ("train.epoch = 6", "named 'epoch'; did you mean 'epochs'"),
        ("network.xyz = 6", "named 'xyz'; known: input_shape, num_classes, encoder"),
        ("train.epochs = ", "experiment.gin"),
    ],
)
def test_a_typo_names_file_and_line(gin_file, line, message):
    with open(gin_file, "a") as file:
        file.write(line + "\n")
    number = FILE.count("\n") + 1
    with pytest.raises(config.ConfigurationError) as error:
        config.parse([gin_file])
    assert message in str(error.value)
    assert "experiment.gin" in str(error.value) and f"line {number}" in str(error.value)


MODULE = """
from difflut.registry import NODES, register_dataset, register_job, register_loss, register_node

@register_node("my_node")
class MyNode(NODES["dwn"]):
    pass

@register_loss("my_loss")
def my_loss(logits, y, scale: float = 1.0): ...

@register_dataset("my_data")
def my_data(cache_dir): ...

@register_job("my_job")
def my_job(network, loss, count: int = 1):
    return network, loss, count
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    name = "components_of_a_user"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for registry, own in zip((NODES, LOSSES, DATASETS, JOBS), ("node", "loss", "data", "job"), strict=True):
        registry._components.pop(f"my_{own}", None)
    sys.modules.pop(name, None)


def test_what_a_gin_file_imports_can_be_named_after_that(gin_file, user_module):
    with open(gin_file, "a") as file:
        file.write(f"import {user_module}\nrun.job = @my_job\nmy_job.network = @network\nmy_job.loss = @my_loss\n")
        file.write("losses.my_loss.scale = 2.0\nlayers.random.node_type = @nodes.my_node\nmy_job.count = 3\n")
    config.parse([gin_file])
    text = config.parsed_config()
    assert config.run()[2] == 3 and f"import {user_module}" in text
    assert type(build().layers[1].node).__name__ == "MyNode" and "my_data" in DATASETS
    config.parse([], text=text)
    assert config.parsed_config() == text
    with pytest.raises(config.ConfigurationError, match=r"my_job\.count = 'x' must be a whole number"):
        config.parse([gin_file], ["my_job.count = 'x'"])


def test_a_component_may_come_after_the_configuration(gin_file, user_module):
    config.parse([gin_file])
    importlib.import_module(user_module)
    config.parse([gin_file], ["layers.random.node_type = @nodes.my_node"])


def test_a_typo_in_a_parameter_names_it(gin_file):
    with pytest.raises(config.ConfigurationError, match=r"--gin_param 'train.epoch = 3': .*epoch"):
        config.parse([gin_file], ["train.epoch = 3"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train.network = None", "train.network = None must be the @NAME of what makes LUTNetworks"),
        ("train.network = @network()", "train.network = @network() must be the @NAME of what makes"),
        ("train.optimizer = 'adam'", "train.optimizer = 'adam' must be the @NAME of what makes Optimizers"),
        ("train.optimizer = @schedules.cosine", "train.optimizer = @schedules.cosine must be the @NAME"),
        ("train.schedule = 0.1", "train.schedule = 0.1 must be the @NAME of what makes LRSchedulers or None"),
        ("run.job = None", "run.job = None must be the @NAME of a function"),
        ("run.job = @network", "run.job = @network: this is no job; known: ablate, "),
        ("network.encoder = None", "network.encoder = None must be one of the Encoders, as @NAME()"),
        ("network.encoder = @encoders.gray", "network.encoder = @encoders.gray must be one of the Encoders"),
        ("network.encoder = @layers.LayerConfig()", "must be one of the Encoders"),
        ("network.layers = @layers.random", "must be a list, each item the @NAME of what makes Layers"),
        ("network.layers = [@layers.random, 3]", "must be a list, each item the @NAME of what makes Layers"),
        ("layers.random.node_type = 'dwn'", "layers.random.node_type = 'dwn' must be the @NAME of what makes Nodes"),
        ("layers.random.node_type = @nodes.dwn()", "layers.random.node_type = @nodes.dwn() must be the @NAME"),
        ("hidden/layers.learnable.output_size = '20'", "hidden/layers.learnable.output_size = '20' must be a whole"),
        ("layers.learnable.top_k = True", "layers.learnable.top_k = True must be a whole number or None"),
        ("train.epochs = 1.5", "train.epochs = 1.5 must be a whole number"),
        ("train.epochs = %EPOCHS\nEPOCHS = 'ten'", "train.epochs = 'ten' must be a whole number"),
        ("train.graph = 1", "train.graph = 1 must be True or False"),
        ("train.runs = 3", "train.runs = 3 must be text in quotes"),
        ("optimizers.adam.betas = (0.9,)", "optimizers.adam.betas = (0.9,) must be (a number, a number)"),
        ("schedules.milestones.at = 3", "schedules.milestones.at = 3 must be a list, each item a whole number"),
        ("benchmark.widths = [20, '10']", "benchmark.widths = [20, '10'] must be a list, each item a whole number"),
        ("verify.nodes = 'dwn'", "verify.nodes = 'dwn' must be a list, each item text in quotes or None"),
        (
            "nodes.polylut.regularizers = 3",
            "nodes.polylut.regularizers = 3 must be a dictionary or a list or text in quotes or None",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_before_anything_runs(gin_file, line, message):
    with pytest.raises(config.ConfigurationError) as error:
        config.parse([gin_file], line.splitlines())
    assert message in str(error.value) and "\n" not in str(error.value)


def test_values_of_kinds_that_an_annotation_takes_are_let_pass(gin_file):
    lines = ["optimizers.adam.lr = 1", "optimizers.adam.betas = [0.9, 0.99]", "train.schedule = None"]
    lines += ["train.epochs = %EPOCHS", "EPOCHS = 3", "layers.learnable.image_shape = (2, 4)"]
    lines += ["nodes.dwn.regularizers = {'l': @regularizers.l}", "layers.random.node_kwargs = @nodes.NodeConfig()"]
    config.parse([gin_file], lines)


def test_missing_files_and_jobs_are_named(tmp_path):
    with pytest.raises(config.ConfigurationError, match=r"nowhere\.gin"):
        config.parse([str(tmp_path / "nowhere.gin")])
    empty = tmp_path / "empty.gin"
    empty.write_text("train.epochs = 3\n")
    with pytest.raises(
        config.ConfigurationError, match=r"no job: add a line such as 'run.job = @train'; known: .*train"
    ):
        config.parse([str(empty)])


def test_what_a_job_lacks_is_named():
    config.parse([], text="run.job = @train\ntrain.network = @network")
    with pytest.raises(config.ConfigurationError, match=r"^train\.optimizer must be set, in a Gin file"):
        config.run()


def test_what_a_component_lacks_is_named_with_its_scope(gin_file):
    lacking = ["network.layers = [@hidden/layers.learnable, @bare/layers.random]", 'dataset.name = "digits"']
    config.parse([gin_file], lacking)
    with pytest.raises(
        config.ConfigurationError, match=r"^network\.layers\[1\]: bare/random\.output_size must be set, in a Gin file"
    ):
        config.run(dry_run=True)


def test_other_errors_of_a_job_keep_their_traceback(gin_file):
    config.parse([gin_file])
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        config.run(nonsense=3)


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        (
            "train.batchsize = 3",
            "Configurable 'train' doesn't have a parameter named 'batchsize'; did you mean 'batch_size'",
        ),
        ("train.runs = here", 'here is no value; did you mean train.runs = "here"?'),
        ("train.epochs = (3", "a bracket, or text in quotes, is not closed"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("num_bits = 3", "nothing refers to the macro %num_bits; did you mean encoders.thermometer.num_bits?"),
        ("WIDTH = 3", "nothing refers to the macro %WIDTH; write %WIDTH where it is meant"),
    ],
)
def test_a_wrong_parameter_is_told_in_one_line(gin_file, parameter, said):
    with pytest.raises(config.ConfigurationError) as error:
        config.parse([gin_file], [parameter])
    told = str(error.value)
    assert told.startswith(f"--gin_param {parameter!r}: {said}") and "\n" not in told


def test_a_macro_that_a_later_parameter_or_another_macro_reads_is_taken(gin_file):
    config.parse([gin_file], ["A = 3", "B = %A", "train.epochs = %B"])
    assert config.bound(["train.epochs"]) == {"train.epochs": 3}


def test_a_function_of_another_kind_is_refused_without_a_traceback(gin_file):
    config.parse([gin_file], ["nodes.dwn.init_fn = @losses.cross_entropy", 'dataset.name = "digits"'])
    with pytest.raises(config.ConfigurationError, match=r"^network\.layers\[\d\]: cross_entropy: missing .*'y'$"):
        config.run()


def test_an_error_that_passes_components_is_what_was_raised_and_no_more(gin_file):
    class OwnError(RuntimeError):
        def __init__(self, *, lost):
            super().__init__(f"lost {lost}")

    error = OwnError(lost="everything")

    def failing(**arguments):
        raise error

    with gin.config.interactive_mode(), gin.unlock_config():
        gin.register("failing")(failing)
    config.parse([gin_file], ["train.network = @hidden/failing", 'dataset.name = "digits"'])
    with pytest.raises(OwnError) as caught:
        config.run()
    assert caught.value is error and str(caught.value) == "lost everything"


def test_a_wrong_statement_is_told_with_its_place(tmp_path):
    (tmp_path / "wrong.gin").write_text("run.job = @train\ntrain.epoch = 3\n")
    with pytest.raises(config.ConfigurationError, match=r"\n  In file \".*wrong\.gin\", line 2\n    train\.epoch = 3$"):
        config.parse([str(tmp_path / "wrong.gin")])


def test_a_job_may_have_a_scope(gin_file):
    scoped = ["run.job = @short/train", "train.epochs = 3", "short/train.epochs = 2", "short/train.dry_run = True"]
    config.parse([gin_file], [*scoped, 'dataset.name = "digits"', "output/layers.random.output_size = 10"])
    assert config.run()["epochs"] == 2
