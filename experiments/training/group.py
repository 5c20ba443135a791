"""The processes that train one network together: how one of them joins the others.

A process is one of several where the environment says so: `RANK`, `LOCAL_RANK`, `WORLD_SIZE` and the address of the
first, as torchrun, Ray Train and `train.devices` set them. Who starts the processes ends all of them when one dies.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import timedelta

import torch
import torch.distributed as dist

from difflut.config import ConfigurationError
from experiments.shared.arguments import device_named

# A process may wait while the first one trains a teacher; that another one died is not found out by waiting.
LONG = timedelta(days=7)


def is_one_of_several() -> bool:
    """Whether the environment says that this process trains together with others."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Within, this process trains together with the others, on a device of its own; only the first one prints.

    Args:
        device: "auto", or a kind of device as torch names it, of which each process of this machine takes one.

    Raises:
        ConfigurationError: There is no such device, or not one for each process.
    """
    if not is_one_of_several():
        yield device_named("train.device", device)
        return
    mine = _own(device)
    if mine.type == "cuda":
        torch.cuda.set_device(mine)
    if threading.current_thread() is threading.main_thread():
        # Python's own handler would not run while this process waits on a GPU for one that is gone.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    is_started = dist.is_initialized()
    if not is_started:
        is_gpu = mine.type == "cuda"
        dist.init_process_group("nccl" if is_gpu else "gloo", timeout=LONG, device_id=mine if is_gpu else None)
    may_leave = mine.type == "cpu"  # NCCL waits for captured steps, which an error keeps
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            with redirect_stdout(nowhere if dist.get_rank() else sys.stdout):
                yield mine
            dist.barrier()
            may_leave = True
    finally:
        if not is_started and may_leave:
            dist.destroy_process_group()


def _own(device: str) -> torch.device:
    number, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigurationError(
            f"train.device = {device!r} is one device, and {os.environ['WORLD_SIZE']} processes train together; "
            "take 'auto', 'cpu' or 'cuda'"
        )
    if device == "cpu" or (device == "auto" and not gpus):
        return torch.device("cpu")
    if number >= gpus:
        raise ConfigurationError(
            f"process {number} of this machine has no GPU of its own: there are {gpus}; "
            "start fewer processes, or take train.device = 'cpu'"
        )
    return torch.device("cuda", number)
