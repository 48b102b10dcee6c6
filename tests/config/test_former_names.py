"""Former names and values of settings still load, from files, stored plans and schedules."""

import logging
from dataclasses import replace
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import Pending
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validate

from cyclealign.config import ExperimentConfig, checked_settings, load_settings
from cyclealign.config import former_names as names
from cyclealign.distill.registry import JOBS
from cyclealign.distill.settings import JobConfig
from cyclealign.errors import BadConfig
from cyclealign.loop.settings import effective_settings
from flows.align import align
from tests.support import store_values

# Former settings -> the same settings today. Each renamed setting and value is in one of them.
EXPERIMENT = [
    ({"judge": {"way": "tournament"}}, {"judge": {"method": "tournament"}}),
    ({"judge": {"orders": 3}}, {"judge": {"num_orders": 3}}),
    ({"judge": {"most_orders": 6}}, {"judge": {"max_orders": 6}}),
    ({"judge": {"enough_tau": 0.1}}, {"judge": {"stop_at_tau": 0.1}}),
    ({"judge": {"group": 5}}, {"judge": {"group_size": 5}}),
    ({"judge": {"stages": 5}}, {"judge": {"calls_per_answer": 5}}),
    ({"judge": {"patience_seconds": 5.0}}, {"judge": {"max_busy_seconds": 5.0}}),
    ({"judge": {"batch_gather_seconds": 2.0}}, {"judge": {"batch_window_seconds": 2.0}}),
    ({"judge": {"least_judged": 0.1}}, {"judge": {"min_judged": 0.1}}),
    ({"health": {"least_accuracy": 0.1}}, {"health": {"min_accuracy": 0.1}}),
    ({"health": {"least_position_consistency": 0.1}}, {"health": {"min_position_consistency": 0.1}}),
    ({"health": {"least_repetition_stability": 0.1}}, {"health": {"min_repetition_stability": 0.1}}),
    ({"health": {"least_junk_refused": 0.1}}, {"health": {"min_junk_refused": 0.1}}),
    ({"health": {"least_injections_refused": 0.1}}, {"health": {"min_injections_refused": 0.1}}),
    ({"budget": {"of": "round"}}, {"budget": {"scope": "round"}}),
    ({"demonstrations": {"choose": "most_similar"}}, {"demonstrations": {"selection": "most_similar"}}),
    ({"demonstrations": {"chance_at_most": 0.5}}, {"demonstrations": {"max_chance": 0.5}}),
    ({"demonstrations": {"keep": 3}}, {"demonstrations": {"max_kept": 3}}),
    ({"demonstrations": {"least_gain": -1}}, {"demonstrations": {"min_gain": -1}}),
    ({"acceptance": {"least_win_rate": 0.1}}, {"acceptance": {"min_win_rate": 0.1}}),
    ({"acceptance": {"most_kl": 0.1}}, {"acceptance": {"max_kl": 0.1}}),
    ({"policy": {"run_code_of": "m"}}, {"policy": {"trust_remote_code": "m"}}),
    ({"policy": {"most_cut": 0.1}}, {"policy": {"max_truncated": 0.1}}),
    ({"training": {"least_preference": 0.9}}, {"training": {"min_preference": 0.9}}),
    ({"training": {"dpo_beta": 0.2}}, {"training": {"beta": 0.2}}),
]
JOB = [
    ("cprd", {"again": True}, {"force": True}),
    ("cprd", {"data": {"most_words": 9}}, {"data": {"max_words": 9}}),
    ("cprd", {"data": {"side": 64}}, {"data": {"image_size": 64}}),
    ("cprd", {"data": {"source": "drawn"}}, {"data": {"source": "demo"}}),
    ("cprd", {"student": {"model": "tiny"}}, {"student": {"model": "demo"}}),
    ("cprd", {"distillation": {"hard": 9}}, {"distillation": {"num_hard_negatives": 9}}),
    ("idcm", {"again": True}, {"force": True}),
    ("idcm", {"windows": {"most": 9}}, {"windows": {"max_windows": 9}}),
    ("idcm", {"data": {"source": "made"}}, {"data": {"source": "demo"}}),
    (
        "idcm",
        {"data": {"world": {"least_passages": 2, "most_passages": 3}}},
        {"data": {"demo": {"min_passages": 2, "max_passages": 3}}},
    ),
    ("idcm", {"etm": {"model": "tiny"}}, {"etm": {"model": "demo"}}),
    ("idcm", {"evaluation": {"least_windows": 2}}, {"evaluation": {"min_windows": 2}}),
    ("leaf", {"again": True}, {"force": True}),
    ("leaf", {"data": {"at_most": 9}}, {"data": {"max_texts": 9}}),
    (
        "leaf",
        {"data": {"examination": "beir"}, "teacher": {"model": "m"}, "student": {"backbone": "m"}},
        {"data": {"task": "beir"}, "teacher": {"model": "m"}, "student": {"backbone": "m"}},
    ),
    ("margin-mse", {"again": True}, {"force": True}),
    ("margin-mse", {"data": {"most_triples": 9}}, {"data": {"max_triples": 9}}),
    ("margin-mse", {"data": {"world": {"passages": 150}}}, {"data": {"demo": {"passages": 150}}}),
    ("pld", {"again": True}, {"force": True}),
    ("pld", {"data": {"source": "drawn", "side": 9}}, {"data": {"source": "demo", "image_size": 9}}),
    ("opd", {"again": True}, {"force": True}),
    ("quantidce", {"again": True}, {"force": True}),
    (
        "quantidce",
        {"data": {"levels": "made", "scored": "made", "tests": {"t": "made"}}},
        {"data": {"levels": "demo", "scored": "demo", "tests": {"t": "demo"}}},
    ),
    ("quantidce", {"encoder": {"model": "tiny"}}, {"encoder": {"model": "demo"}}),
]


def sections(model):
    """The model and all sections in it."""
    inner = [part for info in model.model_fields.values() for part in names.models_of(info.annotation)]
    return [model, *(deeper for part in inner for deeper in sections(part))]


@pytest.fixture(autouse=True)
def _unnoted(monkeypatch):
    monkeypatch.setattr(names, "_noted", set())


@pytest.mark.parametrize(("former", "current"), EXPERIMENT)
def test_a_stored_plan_under_former_names_loads(former, current):
    """Prevents an open round, or a file, of an earlier version that is refused."""
    today = ExperimentConfig.model_validate(current)
    assert ExperimentConfig.model_validate(former) == today != ExperimentConfig()
    assert ExperimentConfig.model_validate(today.model_dump(mode="json")) == today


@pytest.mark.parametrize(("job", "former", "current"), JOB)
def test_settings_of_a_job_under_former_names_load(job, former, current):
    """Prevents a job's file or schedule of an earlier version that is refused."""
    model = JOBS[job].config_model()
    assert model.model_validate(former) == model.model_validate(current)


def test_every_former_name_and_value_is_tried():
    """Prevents a setting that is renamed without a row above."""

    def leaves(model):
        fields = [info for section in sections(model) for info in section.model_fields.values()]
        marks = [names.marker_of(info) for info in fields]
        return {mark.name for mark in marks if mark.name} | {value for mark in marks for value in mark.values}

    def given(settings):
        return (
            {str(settings)} if not isinstance(settings, dict) else set(settings).union(*map(given, settings.values()))
        )

    assert leaves(ExperimentConfig) <= set().union(*(given(former) for former, _ in EXPERIMENT))
    for name, entry in JOBS.items():
        tried = set().union(*(given(former) for job, former, _ in JOB if job == name))
        assert leaves(entry.config_model()) <= tried


@pytest.mark.parametrize(("former", "current"), EXPERIMENT[:3])
def test_former_and_current_name_together_are_refused(former, current):
    """Prevents one of two contradicting values from being dropped unnoticed."""
    both = {section: {**values, **current[section]} for section, values in former.items()}
    with pytest.raises(BadConfig, match=r"run\.toml: 'judge\.\w+' is the former name of 'judge\.\w+'"):
        checked_settings(both, "run.toml", ExperimentConfig)


def test_a_former_name_is_noted_once_with_its_path(caplog):
    """Prevents a rename that users never learn of, and a log that is full of it."""
    with caplog.at_level(logging.WARNING, "cyclealign.config"):
        for _ in range(2):
            ExperimentConfig.model_validate({"judge": {"most_orders": 6}})
            JOBS["cprd"].config_model().model_validate({"data": {"source": "drawn"}})
    assert caplog.messages == [
        "judge.most_orders is now called judge.max_orders; the old name still works.",
        "data.source = 'drawn' is now spelled 'demo'; the old value still works.",
    ]


def test_an_unknown_setting_is_refused_as_before(tmp_path):
    """Prevents misspelt names from passing as former ones."""
    path = tmp_path / "run.toml"
    path.write_text("[judge]\nmosst_orders = 3")
    with pytest.raises(BadConfig, match=r"run\.toml: unknown setting 'judge\.mosst_orders'"):
        load_settings(path, ExperimentConfig)


def schema_of(model):
    def flow(config): ...

    flow.__annotations__ = {"config": model}
    return parameter_schema(flow).model_dump()


@pytest.mark.parametrize(
    ("model", "former"),
    [*((ExperimentConfig, former) for former, _ in EXPERIMENT)]
    + [
        (JOBS[job].config_model(), former)
        for job, former, _ in JOB
        if former != {"data": {"source": "drawn", "side": 9}}
    ],
)
def test_parameters_under_former_names_pass_prefects_check(model, former):
    """Prevents stored parameters of a deployment that the server refuses before a run is created."""
    assert validate({"config": former}, schema_of(model)) == []
    assert validate({"config": {"unknown": 1}}, schema_of(model)) != []


def test_former_names_are_not_in_the_form():
    """Prevents a form with two fields for one setting."""
    for model in (ExperimentConfig, *(entry.config_model() for entry in JOBS.values())):
        definitions = schema_of(model)["definitions"]
        for inner in sections(model):
            assert not set(definitions[inner.__name__]["properties"]) & set(names.former_names(inner))


def test_a_stored_round_under_former_names_goes_on_with_its_settings(store):
    """Prevents an open round of an earlier version that cannot be resumed, or resumes with today's defaults."""
    former = {"judge": {"way": "adaptive", "most_orders": 6}, "demonstrations": {"keep": 3}}
    plan = replace(store_values.plan(), settings=former)
    store.prompts.add("set", [(each, "train") for each in (*plan.prompts, *plan.held_out)], "test")
    store.rounds.open(plan, "me", 600)
    resumed = effective_settings(ExperimentConfig(), store.rounds.unfinished(plan.experiment), {"judge"}).settings
    assert (resumed.judge.method, resumed.judge.max_orders) == ("adaptive", 6)


def test_the_server_and_the_flow_take_parameters_under_former_names(prefect_server):
    """Prevents schedules and saved parameters of an earlier version whose runs are refused or fail at their start."""
    former = {"config": {"experiment": "x", "judge": {"way": "pairwise", "least_judged": 0.1}}}
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            client.create_flow(align),
            f"test-{uuid4()}",
            schedules=[DeploymentScheduleCreate(schedule=CronSchedule(cron="0 0 1 1 *"), parameters=former)],
            parameter_openapi_schema=parameter_schema(align).model_dump(),
            enforce_parameter_schema=True,
        )
        run = client.create_flow_run_from_deployment(deployment, parameters=former, state=Pending())
        (schedule,) = client.read_deployment(deployment).schedules
        with pytest.raises(PrefectHTTPStatusError, match="409"):
            client.create_flow_run_from_deployment(deployment, parameters={"config": {"unknown": 1}}, state=Pending())
    for stored in (run.parameters, schedule.parameters):
        config = align.validate_parameters(stored)["config"]
        assert (config.judge.method, config.judge.min_judged) == ("pairwise", 0.1)


def test_every_job_takes_again_for_force():
    """Prevents a schedule that trains anew each time from finding its finished run instead."""
    assert names.former_names(JobConfig) == {"again": "force"}
