"""The steps of a round. Knows nothing of Prefect."""
