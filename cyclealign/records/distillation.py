"""Results of a distillation job: metrics of its arms as JSON values, curves, and the run that they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cyclealign.records.metrics import Metric


@dataclass(frozen=True)
class Curve:
    """A line of a plot, ``y`` over ``x``, shape (points,), for one arm. Curves of one ``name`` share a panel."""

    arm: str
    name: str
    x_name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class DistillationRun:
    """A run as the store holds it; runs with the same hashes do the same work.

    ``config_hash`` covers the settings and the files that they name, ``code_hash`` the job's version. ``repeat`` is the
    number of earlier runs with the same hashes: above 0 if the run was forced to train again.
    """

    id: int
    job: str
    config_hash: str
    code_hash: str
    finished: bool
    student_path: str | None = None
    report_path: str | None = None
    repeat: int = 0


def arm_values(metric: Metric) -> dict[str, Any]:
    """Return an arm's metric as JSON values: arm, name, value, low, high, items."""
    return {
        "arm": metric.arm,
        "name": metric.name,
        "value": metric.value,
        "low": metric.low,
        "high": metric.high,
        "items": metric.count,
    }


def arm_metric(values: Mapping[str, Any]) -> Metric:
    """Return the metric behind `arm_values`."""
    return Metric(values["name"], values["value"], values["low"], values["high"], values["items"], arm=values["arm"])
