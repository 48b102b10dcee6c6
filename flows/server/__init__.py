"""Start and stop the Prefect server, the worker and the deployments."""
