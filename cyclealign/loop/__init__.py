"""The steps of a round, independent of Prefect."""
