"""Care of a database as a whole: the audit of everything stored, and backups.

Not here: retention, which runs in each node (`timers`).
"""
