"""The publish job: a run's network as a model that others load by name."""

import shutil
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from difflut.circuits import Circuit
from difflut.config import ConfigurationError
from difflut.models import LUTNetwork, load_checkpoint
from difflut.pretrained import CARD, Pretrained, folder_of, names, read_model, write_model
from difflut.registry import register_job
from experiments.data import Dataset
from experiments.export.checks import logits_of
from experiments.export.costs import final
from experiments.export.exporting import export_run
from experiments.runs import RunFolder, dataset_of
from experiments.shared.arguments import check_folder, check_name, check_whole, configured
from experiments.shared.failures import MismatchError

STREAMED = ("luts", "flip_flops", "blocks", "cycles")
COPIED = ("config.gin", "result.json")


@register_job("publish")
def publish(
    run: str,
    name: str,
    description: str,
    data_licence: str,
    folder: str = "models",
    licence: str = "MIT",
    command: str | None = None,
    vectors: int = 100,
    simulator: str = "none",
    streaming: bool = False,
    lut_size: int | None = 6,
) -> dict[str, Any]:
    """Writes a finished run's network as a model: files of kilobytes that `difflut.pretrained.load` reads.

    The run is exported first, and numpy, C and engine are compared with its network on the whole test set.

    Args:
        run: A run folder; its best checkpoint is taken.
        name: Name by which the model is loaded, such as `mnist-4000`. A model of this name in the folder is replaced.
        description: Line that says what it is.
        data_licence: Name and licence of the data, of which test inputs are in the model.
        folder: Folder in which the model's folder is written.
        licence: Licence of the network.
        command: The command that made the run; where it is not given, the one that repeats it from its `config.gin`.
        vectors: Test inputs that come along with the votes that they get; evenly spaced.
        simulator: Simulator with which the Verilog is compared, too: see `export`.
        streaming: Whether that is the Verilog that takes a pixel a clock; the card then has its cost, too.
        lut_size: Inputs of a LUT of the circuit; None leaves it as trained, as simplifying a large one takes long.

    Returns:
        The model's card.

    Raises:
        ConfigurationError: The run is not finished, an argument is out of range, the name is another model's, or the
            folder cannot be made.
        MismatchError: A back end differs from the network; nothing is written then.
    """
    check_whole("publish.vectors", vectors)
    _check_model_name(name, folder)
    with configured():
        source = RunFolder.open_finished(run)
        check_folder("publish.folder", Path(folder))
        result, data, network = source.result(), dataset_of(source), load_checkpoint(source.best)
    with TemporaryDirectory() as scratch:
        verilog = simulator != "none" and not streaming
        report = export_run(
            run, f"{scratch}/export", lut_size, simulator=simulator, streaming=streaming, verilog=verilog
        )
        stream = report["costs"].get("streaming", {})
        card = {
            "name": name,
            "description": description,
            "dataset": data.name,
            "features": data.meaning["features"],
            "shape": list(data.feature_shape),
            "classes": data.class_names,
            "accuracy": report["accuracy"],
            "samples": report["samples"],
            "compared": [name for name, check in report["checks"].items() if check],
            "seed": result["seed"],
            "tables": network.num_luts,
            **final(report["costs"]["estimate"]),
            **({f"stream_{name}": stream[name] for name in STREAMED} if stream else {}),
            "licence": licence,
            "data_licence": data_licence,
            "command": command or f"difflut --gin_file {name}/config.gin",
            "difflut": version("difflut"),
        }
        model = Path(scratch, name)
        model.mkdir()
        for file in COPIED:
            shutil.copyfile(source.path / file, model / file)
        chosen = [number * len(data.x_test) // vectors for number in range(min(vectors, len(data.x_test)))]
        circuit = Circuit.load(f"{scratch}/export/circuit.npz")
        write_model(model, network, circuit, card, data.x_test[chosen].numpy(), data.y_test[chosen].numpy())
        _compare(read_model(model), network, data)
        target = Path(folder, name)
        shutil.copytree(model, target, dirs_exist_ok=True)
    size = sum(path.stat().st_size for path in target.iterdir())
    print(f"{name}: {report['accuracy']:.2%} of {report['samples']} test samples, {size / 1024:.0f} KiB: {target}")
    return card


def _check_model_name(name: str, folder: str) -> None:
    """Refuses a name that is none, or by which another model is found, also where files are found in any case."""
    check_name("publish.name", name)
    target, said = Path(folder, name), f"publish.name = {name!r}"
    there = [path.name for path in Path(folder).iterdir()] if Path(folder).is_dir() else []
    for other in {*there, *names()} - {name}:
        if other.lower() == name.lower():
            raise ConfigurationError(f"{said} and the model {other!r} differ in upper case alone; take another name")
    if name in names() and folder_of(name).resolve() != target.resolve():
        raise ConfigurationError(f"{said} is a model that comes along, and is loaded by this name; take another one")
    if target.exists() and not (target / CARD).is_file():
        raise ConfigurationError(f"{said}: {target} is there, and no model; take another name or publish.folder")


def _compare(model: Pretrained, network: LUTNetwork, data: Dataset) -> None:
    """Compares what is published with the run's network on the whole test set."""
    logits = logits_of(network, data.x_test)
    for name, published in {
        "the network": logits_of(model.network, data.x_test),
        "the circuit": model.circuit(data.x_test.numpy()),
    }.items():
        if wrong := int((published != logits).any(1).sum()):
            raise MismatchError(f"{model.name}: {name} as published differs from the run's in {wrong} samples")
