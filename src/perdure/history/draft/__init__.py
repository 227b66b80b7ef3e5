"""One atomic change of a run: what it is built with, and what it results in.

Role: the draft itself, the transition it ends as, effects for other runs, deadlines, reply plans and task tokens, the
flush of buffered events, and the closing of a run, which every family may cause.

Invariant: an abandoned draft leaves no trace.
Not here: rules of a single family of commands, requests or time-outs.
"""
