"""Task queues as a service: pollers that wait, rows read for them, and hand-over of tasks.

Role: the shell around the pure queues of `perdure.matching`, and the port through which shards offer tasks (`matcher`).
Not here: which task comes first (`perdure.matching`); what starting a task means (`perdure.history`).
"""
