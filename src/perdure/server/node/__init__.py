"""A node: wires all parts of the server together, and the programs that open a node.

Not here: decisions of any kind.
"""
