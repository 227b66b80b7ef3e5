"""Running activities: the registry, attempts, heartbeats, threads, and local activities with their retries.

Not here: how their tasks arrive (`polling`).
"""
