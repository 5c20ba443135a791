"""Starting the processes of a training on this machine, and ending them together."""

import os
import signal
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from operator import itemgetter
from typing import Any, TextIO, cast

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from difflut import config
from difflut.config import ConfigurationError
from difflut.training.ranks import portable
from experiments.data import Rows, kept_rows, rows_kept
from experiments.runs import TrialRun
from experiments.shared.arguments import check_gpus, check_whole
from experiments.shared.failures import JobError, in_a_line
from experiments.training.group import is_one_of_several

HERE = "127.0.0.1"
GRACE = 5.0  # seconds for the first process to end by itself
EARLIER = 2.0  # seconds for an error, or a death, that was before one that is told


@dataclass(frozen=True)
class Start:
    """What the processes are started with.

    Attributes:
        count: Number of processes.
        port: Port of the store at which they meet.
        threads: Threads of each process.
        text: The configuration.
        arguments: Arguments of the job.
        rows: Data sets that are not to be read again.
    """

    count: int
    port: int
    threads: int
    text: str
    arguments: Mapping[str, Any]
    rows: Mapping[str, Rows]


def processes_wanted(devices: int | str, device: str) -> int:
    """How many processes `train.devices` asks for; 1 where this one is one of several already.

    Raises:
        ConfigurationError: It is no number of devices, or there are not so many.
    """
    gpus = 0 if device == "cpu" else torch.cuda.device_count()
    if devices == "all" and not gpus:
        raise ConfigurationError("train.devices = 'all' means all GPUs, and there is none; give a number of processes")
    wanted = gpus if devices == "all" else devices
    check_whole("train.devices", wanted)
    check_gpus("train.devices", int(wanted), device)
    return 1 if is_one_of_several() else int(wanted)


def run_together(count: int, trial: TrialRun, **arguments: Any) -> Any:
    """Runs the present configuration's job in so many processes of this machine, which train together.

    Args:
        trial: Trial to which is told what the first process reports.
        arguments: Arguments of the job.

    Returns:
        What the job returns in the first process.

    Raises:
        ConfigurationError: Nothing is configured, as where the job was called from Python.
        JobError: A process was killed.
        Exception: What a process raised; all others are ended then.
    """
    text = config.parsed_config()
    if not text.strip():
        raise ConfigurationError(f"train.devices = {count} needs a Gin file; start a program of your own by torchrun")
    store = TCPStore(HERE, 0, is_master=True, wait_for_workers=False)
    start = Start(count, store.port, max(1, torch.get_num_threads() // count), text, arguments, rows_kept())
    told = replace(trial, report=_ignore)
    spawn = get_context("spawn")
    processes, pipes = [], []
    try:
        for rank in range(count):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_run, args=(rank, start, told, theirs))
            process.start()
            processes.append(process)
            theirs.close()
            pipes.append(ours)
        return _listen(processes, pipes, trial)
    finally:
        _end(processes)


def _listen(processes: Sequence[BaseProcess], pipes: Sequence[Any], trial: TrialRun) -> Any:
    """Does what the processes ask for until all have ended; returns the first one's result.

    A process that has told its result has done its work; a library may still abort it as its interpreter ends. The end
    of one is an error for those that wait for it, so of several errors the earliest is raised.
    """
    results: dict[int, Any] = {}
    errors: dict[int, tuple[float, Exception]] = {}
    talking = list(pipes)
    while ready := connection.wait(talking, EARLIER if errors else None) if talking else []:
        for pipe in cast(list[Any], ready):
            rank = pipes.index(pipe)
            try:
                kind, content = pipe.recv()
            except EOFError:
                talking.remove(pipe)
                if rank not in results and rank not in errors:
                    _check_ended(processes, rank, [in_a_line(error) for _, error in errors.values()])
                continue
            if kind == "error":
                errors[rank] = content
            elif kind == "text":
                print(content, end="", flush=True)
            elif kind == "row":
                trial.report(content)
                pipe.send("reported")
            else:
                results[rank] = content
    if errors:
        raise min(errors.values(), key=itemgetter(0))[1]
    return results.get(0)


def _check_ended(processes: Sequence[BaseProcess], rank: int, told: Sequence[str]) -> None:
    process = processes[rank]
    process.join()
    code = process.exitcode or 0
    if code:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        others = f"told {', '.join(told)}" if told else "were ended"
        raise JobError(f"process {rank} of the {len(processes)} that train together {how}; the others {others}")


def _end(processes: Sequence[BaseProcess]) -> None:
    """Ends what is left; the first process may say how to go on, as where Ctrl-C reached it too."""
    for process in processes:
        if process is processes[0]:
            process.join(GRACE / 5)
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGINT)
                process.join(GRACE)
        if process.is_alive():
            process.kill()
            process.join()


class _Told:
    """A text file that another process prints."""

    encoding = "utf-8"

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    def write(self, text: str) -> int:
        self.pipe.send(("text", text))
        return len(text)

    def flush(self) -> None:
        """Does nothing, as all is sent at once."""


def _ignore(row: Mapping[str, float]) -> None:
    """In the place of a report that cannot be sent to another process."""


def _run(rank: int, start: Start, trial: TrialRun, pipe: Any) -> None:
    """One of the processes."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if rank:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": start.count, "LOCAL_WORLD_SIZE": start.count}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ.update(MASTER_ADDR=HERE, MASTER_PORT=str(start.port))
    # The store is there already, as it is under torchrun.
    os.environ.update(TORCHELASTIC_USE_AGENT_STORE="True", TORCHELASTIC_RESTART_COUNT="0")
    torch.set_num_threads(start.threads)

    def report(row: Mapping[str, float]) -> None:
        pipe.send(("row", dict(row)))
        pipe.recv()

    import experiments  # noqa: F401, so that every name is known

    with redirect_stdout(cast(TextIO, _Told(pipe))):
        try:
            config.parse([], text=start.text)
            with kept_rows(start.rows):
                result = config.run(trial=replace(trial, report=report), **start.arguments)
            pipe.send(("result", result))
        except KeyboardInterrupt:
            pass
        except Exception as error:
            moment = time.monotonic()  # which all processes of a machine share
            sent = portable(error)
            if not isinstance(error, (ConfigurationError, JobError)):
                sent.add_note(f"in process {rank}:\n{traceback.format_exc()}")
            pipe.send(("error", (moment, sent)))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
