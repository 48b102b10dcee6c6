"""The distillation jobs by the name that the command line and the Prefect UI give them."""

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclealign.config import load_settings
from cyclealign.distill.settings import JobConfig
from cyclealign.errors import DistillError, NoSuchJob
from cyclealign.files import EXAMPLES


@dataclass(frozen=True)
class JobSpec:
    """Where a job's parts are; ``needs`` are the modules that only the extra ``distill`` brings."""

    name: str
    needs: tuple[str, ...] = ("scipy",)

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")

    @property
    def flow_module(self) -> str:
        return f"flows.{self.package}"

    @property
    def demo(self) -> Path:
        return EXAMPLES / f"{self.name}-demo.toml"

    def config_model(self) -> type[JobConfig]:
        """The job's settings; loads no heavy library."""
        model: type[JobConfig] = importlib.import_module(f"cyclealign.distill.{self.package}.config").Config
        return model

    def version(self) -> int:
        """The version of the job's results; loads no heavy library."""
        number: int = importlib.import_module(f"cyclealign.distill.{self.package}.config").VERSION
        return number

    def config(self, path: Path | None = None) -> JobConfig:
        """The settings of a file, or the demo's.

        Raises:
            BadConfig: the file cannot be read, or a key or value is wrong.
        """
        return load_settings(self.demo if path is None else path, self.config_model())

    def flow(self) -> Any:
        """The Prefect flow.

        Raises:
            DistillError: a library that the job needs is not installed.
        """
        missing = [name for name in self.needs if importlib.util.find_spec(name) is None]
        if missing:
            raise DistillError(
                f"The job '{self.name}' needs {', '.join(missing)}. Install: pip install 'cyclealign[distill]'"
            )
        return getattr(importlib.import_module(self.flow_module), self.package)


JOBS = {
    entry.name: entry
    for entry in (
        JobSpec("pld"),
        JobSpec("quantidce"),
        JobSpec("cprd"),
        JobSpec("leaf", needs=("scipy", "sentence_transformers", "ir_measures", "faiss")),
        JobSpec("idcm", needs=("scipy", "ir_measures", "bm25s")),
        JobSpec("margin-mse", needs=("scipy", "sentence_transformers", "bm25s", "ir_measures", "faiss")),
    )
}


def job_named(name: str) -> JobSpec:
    """The job of that name, with hyphens or underscores.

    Raises:
        NoSuchJob: there is none; the message names those that there are.
    """
    try:
        return JOBS[name.replace("_", "-")]
    except KeyError:
        raise NoSuchJob(f"There is no distillation job '{name}'. There are: {', '.join(JOBS)}.") from None
