"""Activities of a run: scheduled, started, retried, timed out, closed.

Role: the command that schedules one (`command`), its attempts as workers drive them (`attempts`), retries, time-outs,
closing, and attempts that were lost with their process (`orphans`).
Not here: standalone activities; the options that a worker's code chooses.
"""
