"""The Prefect flows: the only package that imports Prefect, and the one place where store and work meet."""
