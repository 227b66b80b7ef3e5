"""All families of transitions: importing them fills the tables of folds, commands, messages and deadlines.

A new family is imported here and named nowhere else.
"""
# pyright: reportUnusedImport=false

from __future__ import annotations

import perdure.history.activity.attempts
import perdure.history.activity.command
import perdure.history.activity.timeouts
import perdure.history.child.command
import perdure.history.child.start
import perdure.history.marker
import perdure.history.message.cancel
import perdure.history.message.external
import perdure.history.message.signal
import perdure.history.message.update
import perdure.history.run.commands
import perdure.history.run.continue_as_new
import perdure.history.run.deadlines
import perdure.history.run.terminate
import perdure.history.run.timeouts
import perdure.history.state.fold.activity
import perdure.history.state.fold.child
import perdure.history.state.fold.external
import perdure.history.state.fold.marker
import perdure.history.state.fold.message
import perdure.history.state.fold.run
import perdure.history.state.fold.timer
import perdure.history.state.fold.workflow_task
import perdure.history.timer
import perdure.history.workflow_task.attempts
from perdure.history.state.fold.evolve import evolve

__all__ = ["evolve"]
