"""The command line: `perdure server`, `perdure worker`, `perdure workflow`.

Role: verbs and flags as the `temporal` command has them, over `perdure.client`; payloads decoded, errors in one line
that says what to do. `timeline.py` draws a history and is pure; `exits.py` holds the exit codes.

Invariants: a command's module is imported only when that command runs, so `perdure --help` stays fast; only this
package configures logging; nothing here decides anything that the client or server does not.
Not here: any RPC that `perdure.client` does not offer; the server's start-up (`perdure.server.node.main`).
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the `perdure` command. Ends the process with one of `perdure.cli.exits.Exit`."""
    from perdure.cli.app import run

    run()
