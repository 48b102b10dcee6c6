"""The simulated judge: a small ranking model behind a real HTTP server."""
