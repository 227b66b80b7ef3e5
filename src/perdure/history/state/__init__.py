"""What a workflow run is: its values, and how events and facts change them.

Role: the journaled tables and values of a run (`run_state`, `table`, `buffer`), the facts that never enter history
(`facts`), the fold of events and facts into the state (`fold`).

Invariant: only `fold` writes state.
Not here: decisions, drafts, deadlines.
"""
