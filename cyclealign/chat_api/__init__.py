"""The OpenAI-compatible chat API: clients, batches, limits, budget and prices."""
