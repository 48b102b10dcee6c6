"""The Prefect flows. The only package that imports Prefect."""
