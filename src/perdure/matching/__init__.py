"""Task queues: which waiting poller gets which task, decided without any I/O.

Role: one `TaskQueue` per queue key: parked pollers in the order of their arrival, tasks by priority and then arrival,
who polled lately, whether a sticky queue still has a worker.

Invariants: this is memory only. A task that no poller took in the batch that made it is a row of the store, so anything
forgotten here is found again by reading the rows (`TaskQueue.wants_rows`). A queue never holds a waiting poller and a
task at the same time.
Not here: futures, time-outs of polls, reading rows, starting tasks (`perdure.server.matching.host`).
"""
