"""The job that makes one network of several finished runs."""

from collections.abc import Sequence
from typing import Any

from difflut.config import ConfigurationError, operative_config
from difflut.models import ensemble, load_checkpoint, read_checkpoint, save_checkpoint
from difflut.registry import register_job
from experiments.data import dataset
from experiments.runs import RunFolder
from experiments.shared.arguments import check_name, configured, device_named
from experiments.shared.costs import in_words, size_of
from experiments.training.measuring import scored


@register_job("combine")
def combine(
    members: Sequence[str], mirrored: bool = False, runs: str = "runs", name: str = "ensemble", device: str = "auto"
) -> dict[str, Any]:
    """Counts the votes of several runs' networks together, and measures the network that this makes.

    Runs of different seeds err in different places. What they took is summed up: time as if one after another.

    Args:
        members: Folders of finished runs on the data set that `dataset.name` says, with the same encoder and τ.
        mirrored: Whether each network also votes on the image mirrored left to right, as a network of its own (see
            `difflut.models.mirrored`); one member is then enough.
        runs: The folder of run folders.
        name: Beginning of the new run folder's name.
        device: "auto" takes a GPU where there is one.

    Returns:
        The content of the new folder's result.json.

    Raises:
        ConfigurationError: There are fewer than two runs, they are of other data, or networks do not fit together or
            cannot be mirrored.
    """
    with configured():
        check_name("combine.name", name)
        folders = [RunFolder.open_finished(member) for member in members]
        if len({folder.path.resolve() for folder in folders}) < max(len(members), 1 if mirrored else 2):
            needed = "different folders, and two or more unless combine.mirrored = True"
            raise ConfigurationError(f"combine.members must be {needed}; got {list(members)}")
        results = [folder.result() for folder in folders]
        data = dataset(seed=results[0]["seed"])
        for folder, result in zip(folders, results, strict=True):
            if result["dataset"] != data.name:
                raise ConfigurationError(f"{folder.path} is of {result['dataset']}, dataset.name says {data.name}")
            if not folder.metrics():
                raise ConfigurationError(f"{folder.path} has no metrics.jsonl; members must be runs that trained here")
        model = ensemble([load_checkpoint(folder.best) for folder in folders], mirrored)
        model = model.to(device_named("combine.device", device))
        run = RunFolder.create(runs, name)
    run.write_config(operative_config())
    save_checkpoint(model, run.best, training=read_checkpoint(folders[0].best)["training"], hard=mirrored)
    first, metrics = results[0], [row for folder in folders for row in folder.metrics()]
    known = {key: first[key] for key in ("dataset", "seed", "epochs")} | size_of(model)
    known["device"] = ", ".join(sorted({result["device"] for result in results}))
    known |= {"members": [str(folder.path) for folder in folders], "mirrored": mirrored}
    result = known | scored(model, data, metrics)
    run.write_result(result)
    each = ", ".join(f"{result['test_accuracy_hard']:.2%}" for result in results)
    seen = ", each also on the mirrored image" if mirrored else ""
    print(f"test, {len(members)} networks of {each}{seen}: hard {result['test_accuracy_hard']:.2%}, {in_words(result)}")
    return result
