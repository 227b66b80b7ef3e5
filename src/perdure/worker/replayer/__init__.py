"""Replaying recorded histories against today's code, without a server.

Not here: replay as part of a live worker (`workflow`).
"""
