"""The flows of the distillation jobs: forms without torch, tasks and artifacts, the command line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.flows import load_flow_from_entrypoint

from cyclealign.distill.registry import JOBS, JobSpec
from cyclealign.files import hash_of_folder
from flows.distill import FLOWS, flow_of
from tests.distill.conftest import toy
from tests.distill.test_run import TINY
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

__all__ = ["toy"]


def test_forms_load_no_torch() -> None:
    """Prevents a server that takes seconds and gigabytes to show a form."""
    code = "import sys, flows.distill; assert flows.distill.pld; print({'torch', 'transformers'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("spec", JOBS.values(), ids=JOBS)
def test_every_job_is_registered_alike(spec: JobSpec) -> None:
    """Prevents a job that the command line knows from missing in the UI, or from an empty form."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (deployment,) = [entry for entry in deployments if entry["name"] == spec.name]
    flow = load_flow_from_entrypoint(deployment["entrypoint"])
    assert flow is FLOWS[spec.name]
    assert flow.name == spec.name
    assert deployment["work_pool"]["name"] == "local"
    form = flow.parameters.properties["config"]
    assert form["default"] == spec.config().model_dump(mode="json")
    assert f"docs/configuration-{spec.name}.md" in form["description"]
    assert str(flow.description).startswith(spec.about())


def test_a_toy_job_as_a_flow_leaves_tasks_and_artifacts(
    toy: JobSpec, prefect_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prevents a job whose steps or report are missing on the run's page, and a step's name read as a template."""
    monkeypatch.setenv("CYCLEALIGN_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    flow = flow_of(toy)
    state = flow(toy.config(), return_state=True)
    assert state.result() == 1
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    assert run.name == "toy-seed-0"
    assert {task.name for task in tasks} == {"label", "fit {mean}"}
    table, page = (Artifact.get(key) for key in ("toy-measures", "toy-report"))
    assert json.loads(table.data) == [{"arm": "mean", "value": "1.000"}]
    assert page.data.startswith("# toy, run 1\n\n| arm | value |")
    assert "data:image/svg+xml;base64," in page.data


def test_the_command_line_runs_the_flow_and_finds_it_again(command: Any, tmp_path: Path) -> None:
    """Prevents finished work from being paid again, and old figures from standing for new settings."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    code, output, errors = command("distill", "run", "pld", str(path), "--json")
    assert code == 0, errors
    first = json.loads(output)
    assert {row["arm"] for row in first["measures"]} == {"teacher", "ce", "pld"}
    assert hash_of_folder(Path(first["student_path"])) == first["student_hash"]
    assert {row["step"] for row in first["steps"]} >= {"data", "label", "arm ce", "arm pld"}
    assert json.loads(command("distill", "run", "pld", str(path), "--json")[1]) == first
    again = json.loads(command("distill", "run", "pld", str(path), "--json", "--force")[1])
    assert again["id"] != first["id"]
    assert again["measures"] == first["measures"]
    other = json.loads(command("distill", "run", "pld", str(path), "--json", "--seed", "1")[1])
    assert other["config_hash"] != first["config_hash"]
    code, output, _ = command("distill", "show", "--json")
    assert [run["id"] for run in json.loads(output)] == [first["id"], again["id"], other["id"]]
    assert "PLD above it" in command("distill", "show")[1]


def test_an_interrupted_run_exits_as_interrupted(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents a killed run that looks finished, to a script or in the history."""
    from cyclealign.distill.pld import train

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    monkeypatch.setattr(train, "fit", interrupted)
    assert command("distill", "run", "pld", str(path))[0] == 130
    (run,) = json.loads(command("distill", "show", "--json")[1])
    assert run["finished_at"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "no distillation job 'nothing'. There are: "),
        (("pld",), "Give either a config or --demo"),
        (("pld", "absent.toml"), "absent.toml: cannot be read"),
    ],
)
def test_mistakes_end_in_one_message(command: Any, arguments: tuple[str, ...], message: str) -> None:
    """Prevents a traceback for a misspelt name."""
    code, output, _ = command("distill", "run", *arguments)
    assert code == 1
    assert message in " ".join(output.split())
    assert "Traceback" not in output
