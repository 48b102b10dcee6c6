"""The demo: a small world of prompts and answers, a tiny policy trained on it, and a simulated judge."""
