"""Requests at random against every RPC of the server."""
