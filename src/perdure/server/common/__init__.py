"""What every room of the server needs: options, names of namespaces as facts, the codec of stored rows, shutdown.

Not here: anything that knows a shard, a queue or an RPC.
"""
