"""A web shop whose orders are workflows, with the engine inside the web server's own process."""
