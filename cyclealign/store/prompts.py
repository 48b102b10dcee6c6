"""Prompt sets: prompts to draw from, and labelled lists to measure the judge on."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.errors import NoSuchExperiment
from cyclealign.store.database import Database
from cyclealign.store.statements import insert_new, refused, require_open
from cyclealign.text import did_you_mean


class PromptSetSize(NamedTuple):
    """The numbers of prompts and labelled lists of a set."""

    name: str
    train: int
    held_out: int
    labelled: int


class PromptStore:
    """Prompt sets, labelled lists, and the prompts that a round sets aside."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, set_name: str, rows: Sequence[tuple[records.Prompt, records.Split]], source: str) -> int:
        """Add prompts to a set, made if new, all or none; return how many were new to it. A prompt keeps its split."""
        with self._database.writing() as session:
            set_id = _set_id(session, set_name)
            _remember_prompts(session, [prompt for prompt, _ in rows])
            members = [
                {"prompt_set_id": set_id, "prompt_id": prompt.id, "split": split, "source": source}
                for prompt, split in rows
            ]
            return len(insert_new(session, tables.PromptSetMember, members, tables.PromptSetMember.prompt_id))

    def add_labelled_lists(self, set_name: str, lists: Sequence[records.LabelledList]) -> int:
        """Add labelled lists to a set, made if new, all or none; return how many were new to it."""
        with self._database.writing() as session:
            set_id = _set_id(session, set_name)
            _remember_prompts(session, [labelled.prompt for labelled in lists])
            rows = [
                {
                    "prompt_set_id": set_id,
                    "id": labelled.id,
                    "prompt_id": labelled.prompt.id,
                    "answers": list(labelled.answers),
                    "source": labelled.source,
                }
                for labelled in lists
            ]
            return len(insert_new(session, tables.LabelledList, rows, tables.LabelledList.id))

    def labelled_lists(self, set_name: str) -> list[records.LabelledList]:
        """Return the labelled lists of a set, by id.

        Raises:
            NoSuchExperiment: there is no such set.
        """
        with self._database.reading() as session:
            found = session.execute(
                select(tables.Prompt, tables.LabelledList)
                .join(tables.LabelledList, tables.LabelledList.prompt_id == tables.Prompt.id)
                .where(tables.LabelledList.prompt_set_id == _known_set_id(session, set_name))
                .order_by(tables.LabelledList.id)
            )
            return [
                records.LabelledList(prompt_record(prompt), tuple(row.answers), row.source) for prompt, row in found
            ]

    def sets(self) -> list[PromptSetSize]:
        """Return every set, by name, with its numbers of train and held-out prompts and labelled lists."""
        member, labelled = tables.PromptSetMember, tables.LabelledList
        of_set = select(func.count()).where(member.prompt_set_id == tables.PromptSet.id)
        lists = select(func.count()).where(labelled.prompt_set_id == tables.PromptSet.id)
        with self._database.reading() as session:
            found = session.execute(
                select(
                    tables.PromptSet.name,
                    of_set.where(member.split == "train").scalar_subquery(),
                    of_set.where(member.split == "held_out").scalar_subquery(),
                    lists.scalar_subquery(),
                ).order_by(tables.PromptSet.name)
            )
            return [PromptSetSize(*row) for row in found]

    def unused(self, set_name: str, experiment: str) -> list[records.Prompt]:
        """Return the train prompts, by id, that no round of the experiment has drawn, whatever its verdict.

        A round that was closed before the policy answered has used none.

        Raises:
            NoSuchExperiment: there is no such set.
        """
        drawn = (
            select(tables.RoundPrompt.prompt_id)
            .join(tables.Round, tables.Round.id == tables.RoundPrompt.round_id)
            .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
            .where(tables.Experiment.name == experiment, ~refused())
        )
        with self._database.reading() as session:
            members = _members(_known_set_id(session, set_name), "train")
            return [prompt_record(row) for row in session.scalars(members.where(tables.Prompt.id.not_in(drawn)))]

    def held_out(self, set_name: str) -> list[records.Prompt]:
        """Return the held-out prompts of a set, by id.

        Raises:
            NoSuchExperiment: there is no such set.
        """
        with self._database.reading() as session:
            members = _members(_known_set_id(session, set_name), "held_out")
            return [prompt_record(row) for row in session.scalars(members)]

    def set_aside(self, round_id: int, prompt_id: str, reason: str) -> None:
        """Leave a prompt of the round out of all later steps, and record the reason.

        Raises:
            LeaseLost: the round is closed.
            ValueError: the round did not draw this prompt.
        """
        drawn = (tables.RoundPrompt.round_id == round_id, tables.RoundPrompt.prompt_id == prompt_id)
        change = update(tables.RoundPrompt).where(*drawn).values(set_aside_reason=reason)
        with self._database.writing() as session:
            require_open(session, round_id)
            if session.scalar(change.returning(tables.RoundPrompt.prompt_id)) is None:
                raise ValueError(f"round {round_id} did not draw the prompt {prompt_id}")

    def set_aside_reasons(self, round_id: int) -> dict[str, str]:
        """Return the reasons of the prompts that were set aside, by prompt id."""
        drawn = tables.RoundPrompt
        with self._database.reading() as session:
            found = session.execute(
                select(drawn.prompt_id, drawn.set_aside_reason)
                .where(drawn.round_id == round_id, drawn.set_aside_reason.is_not(None))
                .order_by(drawn.purpose, drawn.position)
            )
            return {prompt_id: str(reason) for prompt_id, reason in found}


def prompt_record(row: tables.Prompt) -> records.Prompt:
    """Return the value of a row."""
    turns = (records.Message(role=turn["role"], content=turn["content"]) for turn in row.messages)
    return records.Prompt(row.id, tuple(turns))


def _members(set_id: int, split: records.Split) -> Select[tuple[tables.Prompt]]:
    return (
        select(tables.Prompt)
        .join(tables.PromptSetMember, tables.PromptSetMember.prompt_id == tables.Prompt.id)
        .where(tables.PromptSetMember.prompt_set_id == set_id, tables.PromptSetMember.split == split)
        .order_by(tables.Prompt.id)
    )


def _remember_prompts(session: Session, prompts: Sequence[records.Prompt]) -> None:
    rows = [{"id": prompt.id, "messages": list(prompt.messages), "text": prompt.text} for prompt in prompts]
    insert_new(session, tables.Prompt, rows, tables.Prompt.id)


def _set_id(session: Session, name: str) -> int:
    insert_new(session, tables.PromptSet, [{"name": name}], tables.PromptSet.id)
    return session.scalars(select(tables.PromptSet.id).where(tables.PromptSet.name == name)).one()


def _known_set_id(session: Session, name: str) -> int:
    found = session.scalar(select(tables.PromptSet.id).where(tables.PromptSet.name == name))
    if found is None:
        known = session.scalars(select(tables.PromptSet.name).order_by(tables.PromptSet.name)).all()
        raise NoSuchExperiment(
            f"There is no prompt set '{name}' (known: {', '.join(known) or 'none yet'}).{did_you_mean(name, known)} "
            f"Import one with: cyclealign prompts import FILE --set {name}"
        )
    return found
