"""Waiting for a person: signals decide, a query tells the state, a timer ends the wait."""
