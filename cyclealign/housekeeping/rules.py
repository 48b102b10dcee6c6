"""The rules of housekeeping: ages in days since a file was last written, and counts."""

from pydantic import Field

from cyclealign.config import Section


class HousekeepingRules(Section):
    """When files that nothing needs any more are deleted. Database rows and reports are never deleted."""

    dry_run: bool = Field(True, title="Dry run", description="List the files and their sizes; delete nothing.")
    adapters_days: int = Field(
        14,
        ge=0,
        title="Weights after (days)",
        description="Weights of rounds that were not accepted, and weights that no round has.",
    )
    keep_adapters: int = Field(
        2,
        ge=0,
        title="Weights to keep",
        description="The newest weights of rounds that were not accepted stay, this many of each experiment.",
    )
    checkpoints_days: int = Field(
        7, ge=0, title="Checkpoints after (days)", description="Checkpoints of trainings that no open run resumes."
    )
    labels_days: int = Field(
        90,
        ge=0,
        title="Labels after (days)",
        description="Teachers' labels of distillation jobs, counted from their last use. A run that needs them again "
        "computes them again.",
    )
    unfinished_days: int | None = Field(
        None,
        ge=1,
        title="Unfinished runs after (days)",
        description="A distillation run that was not finished keeps labels and checkpoints of its job, unless nothing "
        "of the job was written for this long. Empty: it always does.",
    )
    logs_days: int = Field(30, ge=0, title="Logs after (days)", description="Logs that no process has open.")
    keep_logs: int = Field(5, ge=0, title="Logs to keep", description="The newest logs stay, this many in all.")
