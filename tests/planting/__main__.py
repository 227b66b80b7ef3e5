"""`python -m tests.planting`: plants bugs, runs the tests, prints the score."""

from __future__ import annotations

import sys

from tests.planting.command import main

if __name__ == "__main__":
    sys.exit(main())
