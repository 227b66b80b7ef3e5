"""Recorded histories, the workflows that must replay them, and the tool that recorded them. See README.md."""
