"""Settings of the toy job."""

from pydantic import Field

from cyclealign.distill.settings import JobConfig

VERSION = 1


class Config(JobConfig):
    """Distil a list of numbers into their mean."""

    size: int = Field(4, ge=1, title="Size", description="Numbers to label.")
