"""The life of a run: started, continued, timed out, woken, terminated, described.

Role: start requests and the policies for a workflow id, chains of runs (cron, retry, continue-as-new), the commands
that end a run, its time-outs, and its description.
Not here: what all families need to close a run (`draft.close`).
"""
