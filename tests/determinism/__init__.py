"""The determinism guard against the world: libraries that must work in workflows, and sources that must be caught.

`libraries` and `sources` are two lists of small functions. `answers` calls each of them inside a workflow, in a process
of its own; the tests compare what different processes get.
"""
