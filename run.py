"""Runs the job that a Gin file describes.

python run.py --gin_file gin_configs/quickstart.gin
python run.py --gin_file gin_configs/quickstart.gin --gin_param 'train.epochs = 3' --gin_param 'train.seed = 1'
python run.py --list
python run.py --list nodes.dwn
"""

import sys

from difflut.command import main

if __name__ == "__main__":
    sys.exit(main())
