"""Names that the shell completes."""


def experiment_names(incomplete: str) -> list[str]:
    """Return the names of stored experiments with this beginning; none without a database."""
    from cyclealign.errors import CycleAlignError
    from cyclealign.store import Store, database_is_there

    try:
        if not database_is_there():
            return []
        with Store.open() as store:
            return [name for name in store.experiments.names() if name.startswith(incomplete)]
    except CycleAlignError:  # a message would end up on the user's command line
        return []
