"""Runs the job that a Gin file describes.

python run.py --gin_file gin_configs/quickstart.gin
python run.py --gin_file gin_configs/quickstart.gin --gin_param 'train.epochs = 3' --gin_param 'train.seed = 1'
python run.py --list
python run.py --list nodes.dwn
"""

import argparse
import os
import signal
import sys

RECEIVED: list[int] = []  # signals that asked the job to end


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Runs the job that a Gin file describes.",
        epilog="example: python run.py --gin_file gin_configs/quickstart.gin --gin_param 'train.epochs = 3'",
    )
    parser.add_argument("--gin_file", action="append", default=[], metavar="FILE", help="repeatable; later files win")
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
    arguments = parser.parse_args()
    if arguments.list is None and not arguments.gin_file:
        parser.error("give a --gin_file to run, or --list to see what there is")

    # A Gin file may import modules that lie where the command is given.
    sys.path.append(os.getcwd())
    # Imported late: --help and usage errors answer at once.
    import experiments
    from difflut import config

    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is signal.SIG_DFL:  # and not ignored, as under nohup
            signal.signal(number, interrupt)
    try:
        if arguments.gin_file:
            config.parse(arguments.gin_file, arguments.gin_param)
        if arguments.list is not None:
            print(experiments.description(arguments.list) if arguments.list else experiments.listing())
            return 0
        config.run()
    except (config.ConfigurationError, experiments.JobError) as error:
        # Gin adds through which functions it came.
        print(f"run.py: {str(error).partition(chr(10) + '  In call to configurable')[0]}", file=sys.stderr)
        return 2 if isinstance(error, config.ConfigurationError) else 1
    except KeyboardInterrupt:
        return 128 + (RECEIVED or [signal.SIGINT])[0]
    return 0


def interrupt(number: int, frame: object) -> None:
    """Has the job end as by Ctrl-C, whatever asks it to: it says how to go on."""
    RECEIVED.append(number)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
