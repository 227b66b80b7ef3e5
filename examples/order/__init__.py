"""An order: three steps, retries, and compensation of what was done when a later step fails for good."""
