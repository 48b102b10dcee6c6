"""The embedded default: a small world, a tiny policy trained on it, and a simulated judge that knows neither."""
