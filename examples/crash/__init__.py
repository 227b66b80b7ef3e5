"""What `make demo` runs: two steps with a durable sleep between them, and a kill -9 of everything in the sleep."""
