"""A worker's calls to the server: pollers, slots, the RPCs of tasks, and the payload codec around them.

Not here: what a task means (`activity`, `workflow`).
"""
