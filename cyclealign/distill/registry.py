"""The distillation jobs by the name that the command line and the Prefect UI give them. Loads no heavy library."""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from cyclealign.config import load_settings
from cyclealign.distill.settings import JobConfig
from cyclealign.distill.steps import Outcome, Steps
from cyclealign.errors import DistillError, NoSuchJob
from cyclealign.files import EXAMPLES
from cyclealign.text import did_you_mean


class Job(Protocol):
    """The module ``job`` of a job's package."""

    NAME: str
    VERSION: int
    Config: type[JobConfig]

    def inputs(self, config: Any) -> Mapping[str, str]:
        """Return content hashes of the files and models that the config names."""
        ...

    def run(self, config: Any, steps: Steps) -> Outcome:
        """Label, train and evaluate."""
        ...


@dataclass(frozen=True)
class JobSpec:
    """A job's package, and the modules that it needs from the extra ``distill``."""

    name: str
    package: str
    needs: tuple[str, ...] = ("scipy",)

    @property
    def function(self) -> str:
        """The name of the flow's function in `flows.distill`."""
        return self.name.replace("-", "_")

    @property
    def demo(self) -> Path:
        """The file of the demo's settings."""
        return EXAMPLES / f"{self.name}-demo.toml"

    def about(self) -> str:
        """Return one line that says what the job distils."""
        return (self.config_model().__doc__ or self.name).strip().splitlines()[0]

    def config_model(self) -> type[JobConfig]:
        """Return the class of the job's settings; loads no heavy library."""
        model: type[JobConfig] = importlib.import_module(f"{self.package}.config").Config
        return model

    def version(self) -> int:
        """Return the version of the job's results; loads no heavy library."""
        number: int = importlib.import_module(f"{self.package}.config").VERSION
        return number

    def config(self, path: Path | None = None) -> JobConfig:
        """Load the settings of a file, or the demo's.

        Raises:
            BadConfig: the file cannot be read, or a key or value is wrong.
        """
        return load_settings(self.demo if path is None else path, self.config_model())

    def check_installed(self) -> None:
        """Check that the libraries that the job needs are installed, without loading them.

        Raises:
            DistillError: one is missing; the message says how to install it.
        """
        missing = [name for name in self.needs if importlib.util.find_spec(name) is None]
        if missing:
            raise DistillError(
                f"The job '{self.name}' needs {', '.join(missing)}. Install: pip install 'cyclealign[distill]'"
            )

    def load(self) -> Job:
        """Import the job, with torch and the other libraries that it needs; raise as `check_installed`."""
        self.check_installed()
        return cast(Job, importlib.import_module(f"{self.package}.job"))


JOBS = {
    spec.name: spec
    for spec in (
        JobSpec("pld", "cyclealign.distill.pld"),
        JobSpec("quantidce", "cyclealign.distill.quantidce"),
        JobSpec("cprd", "cyclealign.distill.cprd"),
        JobSpec("leaf", "cyclealign.distill.leaf", needs=("scipy", "sentence_transformers", "ir_measures", "faiss")),
        JobSpec("idcm", "cyclealign.distill.idcm", needs=("scipy", "ir_measures", "bm25s")),
        JobSpec(
            "margin-mse",
            "cyclealign.distill.margin_mse",
            needs=("scipy", "sentence_transformers", "bm25s", "ir_measures", "faiss"),
        ),
        JobSpec("opd", "cyclealign.distill.opd", needs=()),
    )
}


def job_named(name: str) -> JobSpec:
    """Return the job of that name, with hyphens or underscores.

    Raises:
        NoSuchJob: there is none; the message names the jobs.
    """
    try:
        return JOBS[name.replace("_", "-")]
    except KeyError:
        meant = did_you_mean(name, JOBS)
        raise NoSuchJob(f"There is no distillation job '{name}'. There are: {', '.join(JOBS)}.{meant}") from None
