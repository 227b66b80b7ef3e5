"""`python -m tests.planting`: plant bugs, run the tests, print who noticed."""

from __future__ import annotations

import sys

from tests.planting.command import main

if __name__ == "__main__":
    sys.exit(main())
