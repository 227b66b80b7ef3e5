"""Histories of our own, recorded with either worker on either server, and what must replay them. See README.md."""
