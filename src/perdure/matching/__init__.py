"""Task queues: which waiting poller gets which task, decided without any I/O.

Role: one `TaskQueue` per queue key, with parked pollers in order of arrival, tasks by priority and then arrival, the
recent pollers, and whether a sticky queue still has a worker.

Invariants: this is memory only. A task without a sync match is a row of the store, so reading the rows finds everything
that is lost here (`TaskQueue.wants_rows`). A queue never holds a parked poller and a task at the same time.
Not here: futures, time-outs of polls, reading rows, starting tasks (`perdure.server.matching.host`).
"""
