"""Hashes in the keys of release 0.1.0, under which its students, runs and labels are still found.

Up to 0.1.0 a run and its stages were keyed by the content of their source files. Version 1 of each job computes the
same as those sources.
"""

# Job -> hash of the sources that made its students in 0.1.0.
_SOURCES = {
    "pld": "617b01cdaa8580cf48d5e158",
    "quantidce": "2f468eedf286b78432c6191e",
    "cprd": "c8c1f289d176ea02f43ceb62",
    "leaf": "045667bc3632dacba69ae2c1",
    "idcm": "74df44147a97dada7e8e8c53",
    "margin-mse": "1d184a1a7e101cca234428cd",
}
# SHA-256 of the source of CPRD's simulated teacher, a part of the key of its labels.
CPRD_SIMULATED_TEACHER = "c2301316458c9640ba28059c8a0f89803668fdaaed337b8def2bd5259e37f5ab"
# The folder of LEAF's demo teacher with the default recipe, below the models of a home.
LEAF_DEMO_TEACHER = "leaf-demo-teacher-3b07b58e03dfe7809024c61a"


def sources_of(job: str, version: int) -> str | None:
    """Return the hash of the job's sources in 0.1.0 if this version computes the same, None otherwise."""
    return _SOURCES.get(job) if version == 1 else None
