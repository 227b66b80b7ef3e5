"""`python -m perdure` is the `perdure` command."""

from __future__ import annotations

from perdure.cli import main

main()
