"""A node: all rooms of the server wired together, and the programs that open one.

Not here: anything that decides.
"""
