"""Hello, durably: a ten-second timer and one activity."""
