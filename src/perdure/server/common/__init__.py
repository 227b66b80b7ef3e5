"""What all parts of the server need: options, namespaces as facts, the codec of stored rows, shutdown.

Not here: anything that knows a shard, a queue or an RPC.
"""
