"""The task queue service: it parks pollers, reads task rows for them, and delivers tasks.

Role: the shell around the pure queues of `perdure.matching`, and the port through which shards offer tasks (`matcher`).
Not here: which task comes first (`perdure.matching`); what starting a task means (`perdure.history`).
"""
