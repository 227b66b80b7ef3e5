"""How requests arrive: gRPC and its reflection service.

Not here: what a request means (`frontend`).
"""
