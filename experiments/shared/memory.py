"""The memory that a process uses."""

import math

import torch


def peak_memory(device: str | torch.device) -> float:
    """The most bytes that this process held so far: of a GPU what torch took of it, else of the machine's memory.

    Not a number where the system does not say.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # On Linux `getrusage` starts from the peak of the parent; on macOS it gives the peak of this process, in bytes.
    peak = linux_bytes("/proc/self/status", "VmHWM:")
    if peak is not None:
        return peak
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return math.nan
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def linux_bytes(path: str, name: str) -> int | None:
    """A figure that Linux gives in kilobytes; None elsewhere."""
    try:
        with open(path, encoding="utf-8") as file:
            return 1024 * next(int(line.split()[1]) for line in file if line.startswith(name))
    except OSError:
        return None
