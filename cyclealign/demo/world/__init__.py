"""The demo world: made-up prompts, answers and gold labels."""
