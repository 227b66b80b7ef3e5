"""Care of a database as a whole: the audit of everything stored.

Not here: copies (`perdure.storage.sqlite_backup`); retention, which runs in each node (`timers`).
"""
