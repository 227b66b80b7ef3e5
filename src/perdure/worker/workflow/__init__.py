"""Running workflow tasks: the cache of runs, one run's engine and host, and the loop that completes tasks.

Not here: replay itself (`perdure.replay`) and the deterministic host (`host`).
"""
