"""The command line: `perdure server`, `perdure worker`, `perdure workflow`, `perdure db`.

Commands and flags are those of the `temporal` command, implemented with `perdure.client`. Payloads are decoded. An
error is one line that says what to do. `exits.py` holds the exit codes.

Invariants: a command's module is imported only when the command runs, so that `perdure --help` is fast; only this
package configures logging; nothing here decides anything that belongs to the client or the server.
Not here: RPCs that `perdure.client` does not offer; the server's start-up (`perdure.server.node.main`).
"""

from __future__ import annotations

import gc

COLLECT_AFTER_OBJECTS = 10_000
"""The garbage collector's threshold in commands. What a command loads stays in use, so collections during its start
would find nothing."""


def main() -> None:
    """Entry point of the `perdure` command. Ends the process with one of `perdure.cli.exits.Exit`."""
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    try:
        from perdure.cli.app import run
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # `Exit.INTERRUPTED`, whose module may not be there yet
    run()
