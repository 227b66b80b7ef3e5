"""The foundation of all kinds of entities: what a shard owns, changes and commits.

Role: the values of one change (`transition`), what a change may know besides (`env`), and what a kind of entity
tells the engine about itself (`entity_type`).

Invariants: pure. Nothing here knows a kind: runs, pointers and namespaces are registrations like any other.
Not here: keys (`perdure.core.ids`), the rules of workflow runs (`perdure.history`), rows (`perdure.storage`).
"""
