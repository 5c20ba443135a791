"""The job that times one training on several numbers of devices."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from difflut.config import ConfigurationError, bound, parsed_config
from difflut.registry import register_job
from experiments.runs import RunFolder
from experiments.shared.arguments import check_gpus, check_whole, check_wholes
from experiments.shared.failures import JobError
from experiments.shared.tables import Table


@register_job("scaling")
def scaling(devices: Sequence[int] = (1, 2), weak: bool = False, epochs: int = 4) -> dict[int, float]:
    """Times the training that the rest of the Gin file describes on several numbers of this machine's devices.

    Epochs include everything that is done in them but the measuring on validation rows; the quickest counts, and the
    first, which may compile, does not. The runs' folders are not kept.

    Args:
        devices: Numbers of devices, of which the first is that with which the others are compared.
        weak: Whether `train.batch_size` is that of each device, and not that of all together.
        epochs: Epochs of each training, two at least.

    Returns:
        Samples a second by the number of devices.

    Raises:
        ConfigurationError: A number is wrong, or nothing says what is trained.
        JobError: A training failed.
    """
    check_wholes("scaling.devices", devices)
    check_whole("scaling.epochs", epochs, least=2)
    given = bound(["train.network", "train.batch_size", "train.device"])
    if "train.network" not in given:
        raise ConfigurationError("scaling times a training: include the Gin file of one, such as cifar10_conv.gin")
    for count in devices:
        check_gpus("each of scaling.devices", count, given.get("train.device", "auto"))
    batch = given.get("train.batch_size", 128)
    rates = {}
    for count in devices:
        size = batch * count if weak else batch
        rates[count] = _samples_per_second(count, size, epochs)
        print(f"{count} devices, batches of {size}: {rates[count]:,.0f} samples/s", flush=True)
    first = rates[devices[0]]
    rows = [[str(count), f"{rate:,.0f}", f"{rate / first:.2f}"] for count, rate in rates.items()]
    print(Table(["devices", "samples/s", "times the first"], rows, frozenset({0, 1, 2})).text())
    return rates


def _samples_per_second(count: int, batch: int, epochs: int) -> float:
    """Of the quickest epoch behind the first, of a training in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="difflut-scaling-") as folder:
        settings = [
            "run.job = @train", f"train.devices = {count}", f"train.batch_size = {batch}", f"train.epochs = {epochs}",
            f"train.runs = {folder!r}", 'train.name = "run"', "train.checkpoint_seconds = None",
            "train.count_luts = False", 'tracking.mode = "disabled"',
        ]  # fmt: skip
        file = Path(folder, "scaling.gin")
        file.write_text(parsed_config(), encoding="utf-8")
        command = [sys.executable, "-m", "difflut.command", "--gin_file", str(file)]
        command += [part for setting in settings for part in ("--gin_param", setting)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            last = re.split(r"^(?=\S)", done.stderr.strip(), flags=re.MULTILINE)[-1]
            reason = " ".join(last.split())  # with the lines below it that begin with a space
            error = JobError(f"the training on {count} devices failed: {reason}")
            error.add_note(f"all that it told:\n{done.stderr}")
            raise error
        (run,) = Path(folder).glob("run-*/")
        return max(row["samples_per_second"] for row in RunFolder(run).metrics()[1:])
