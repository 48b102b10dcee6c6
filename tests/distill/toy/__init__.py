"""A job of a few lines, with everything that a job has."""
