"""Functions that several processes of one group call at once."""

import tempfile
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist


def together(count, function, *arguments):
    """What `function(*arguments)` returns in each of so many processes, which talk by gloo."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(_process, (count, folder, function, arguments), count)
        return [torch.load(Path(folder, str(rank)), weights_only=False) for rank in range(count)]


def _process(rank, count, folder, function, arguments):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/store", timedelta(minutes=2), count, rank)
    try:
        torch.save(function(*arguments), Path(folder, str(rank)))
        dist.barrier()  # a process that leaves would take from the others what they are still sending
    finally:
        dist.destroy_process_group()
