"""Settings that end an experiment which makes no progress."""

from pydantic import Field

from cyclealign.config.section import Section


class StopSettings(Section):
    """When an experiment is no longer continued, so that a schedule does not go on at your expense."""

    max_rollbacks: int = Field(
        5,
        ge=0,
        title="Maximum rollbacks in a row",
        description="After this many, no further round is run until you raise the limit for one run. 0: no limit.",
    )
    max_failures: int = Field(
        0,
        ge=0,
        title="Maximum failed runs in a row",
        description="After this many, no further run is tried until you raise the limit for one run. 0: no limit.",
    )
