"""What a completed workflow task carries: the table of commands, their common checks, and protocol messages.

Role: apply commands and messages in order, each by the handler that its family registered.

Invariant: a rejected command or message abandons the whole draft.
Not here: the handlers (`activity`, `child`, `message`, `run`, `timer`, `marker`).
"""
