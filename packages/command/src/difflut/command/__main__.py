"""`python -m difflut.command`, for where the command itself is not on the path."""

import sys

from difflut.command import main

sys.exit(main())
