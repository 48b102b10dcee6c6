"""Checks before a run: everything that would stop it later, found in seconds and all at once."""
