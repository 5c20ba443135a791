"""The command `difflut`, which runs the job that a Gin file describes."""

import argparse
import errno
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)  # errors of a disk without room
RECEIVED: list[int] = []  # signals that asked the job to end


def main() -> int:
    """Runs what the command line asks for, and returns the exit status: 0, 1 of a job, 2 of a configuration."""
    parser = argparse.ArgumentParser(
        prog="difflut" if Path(sys.argv[0]).name == "__main__.py" else None,
        description="Runs the job that a Gin file describes.",
        epilog="example: %(prog)s --gin_file quickstart --gin_param 'train.epochs = 3'",
    )
    parser.add_argument(
        "--gin_file",
        action="append",
        default=[],
        metavar="FILE",
        help="a path, or the name of a file that comes with DiffLUT; repeatable, later files win",
    )
    parser.add_argument(
        "--gin_param", action="append", default=[], metavar="'NAME = VALUE'", help="repeatable; stronger than files"
    )
    parser.add_argument(
        "--list",
        nargs="?",
        const="",
        metavar="NAME",
        help="all jobs, components and data sets, those that Gin files import too; or all about one",
    )
    arguments, others = parser.parse_known_args()
    if others:
        meant = f"; did you mean --gin_file {others[0]}?" if not others[0].startswith("-") else ""
        parser.error(f"unrecognized arguments: {' '.join(others)}{meant}")
    if arguments.list is None and not arguments.gin_file:
        parser.error("give a --gin_file to run, or --list to see what there is")

    # A Gin file may import modules that lie where the command is given.
    sys.path.append(os.getcwd())
    # Imported late: --help and usage errors answer at once.
    import experiments
    from difflut import config

    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has SIGHUP ignored, which stays so
            signal.signal(number, interrupt)
    config.look_in(gin_folder())
    try:
        if arguments.gin_file:
            config.parse(arguments.gin_file, arguments.gin_param)
        if arguments.list is not None:
            print(experiments.description(arguments.list) if arguments.list else experiments.listing())
            return 0
        config.run()
    except (config.ConfigurationError, experiments.JobError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2 if isinstance(error, config.ConfigurationError) else 1
    except OSError as error:
        if error.errno not in FULL:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"{parser.prog}: {where}{error.strerror}; make room there, and go on", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + (RECEIVED or [signal.SIGINT])[0]
    return 0


def gin_folder() -> Path:
    """The folder of the Gin files that come with DiffLUT: beside the jobs of an installed wheel, or in the checkout.

    Raises:
        ModuleNotFoundError: The jobs are not installed.
    """
    jobs = find_spec("experiments")
    if jobs is None or jobs.origin is None:
        raise ModuleNotFoundError("the jobs are not installed: pip install difflut, or run it in a checkout")
    installed = Path(jobs.origin).parent / "gin_configs"
    return installed if installed.is_dir() else installed.parents[1] / "gin_configs"


def interrupt(number: int, frame: object) -> None:
    """Ends the job as Ctrl-C does, so that it tells how to go on."""
    RECEIVED.append(number)
    raise KeyboardInterrupt
