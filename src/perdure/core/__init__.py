"""What every layer may use: ids, limits, back-off arithmetic, clocks, the deterministic event loop.

Standard library and msgspec only. Nothing here knows the API's messages, storage, or a network.
"""
