"""Settings of the connection to the database; its address is in the environment."""

from pydantic import Field

from cyclealign.config.section import Section


class DatabaseSettings(Section):
    """How long a run waits for its database."""

    patience_seconds: float = Field(
        600.0,
        ge=0,
        le=86400,
        title="Patience (seconds)",
        description="Longest wait for a database that does not answer, is locked or has no space, before the run stops "
        "and can be rerun. 0: stop at once.",
    )
    statement_seconds: float = Field(
        60.0,
        ge=1,
        le=86400,
        title="Statement limit (seconds)",
        description="A statement that PostgreSQL has not answered by then counts as a lost connection and is repeated.",
    )
