"""Administration of a whole database: the audit of everything stored.

Not here: copies (`perdure.storage.sqlite_backup`); retention, which runs in each node (`timers`).
"""
