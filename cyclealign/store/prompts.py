"""Prompt sets: prompts to draw from, and labelled lists to measure the judge on."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar, cast

from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.orm import Session

from cyclealign import records, tables
from cyclealign.errors import NoSuchExperiment
from cyclealign.store.repository import Repository
from cyclealign.store.statements import in_parts, insert_new, insert_quietly, require_open, without_result
from cyclealign.text import did_you_mean

Item = TypeVar("Item")
PART = 2000  # rows per statement: the values of all rows of a large file would be in memory a second time


class PromptSetSize(NamedTuple):
    """The numbers of prompts and labelled lists of a set; ``unused`` train prompts were drawn by no round."""

    name: str
    train: int
    held_out: int
    labelled: int
    unused: int


class Added(NamedTuple):
    """The numbers of prompts and labelled lists that were new to a set.

    ``lists_on_train`` lists were left out, since their prompts are train prompts of the set already.
    """

    prompts: int
    lists: int
    lists_on_train: int


class PromptStore(Repository):
    """Prompt sets, labelled lists, and the prompts that a round sets aside."""

    def add(self, set_name: str, rows: Sequence[tuple[records.Prompt, records.Split]], source: str) -> int:
        """Add prompts to a set, made if new, all or none; return how many were new to it. A prompt keeps its split."""
        self._remember_prompts([prompt for prompt, _ in rows])
        with self._database.writing() as session:
            return _add_members(session, _set_id(session, set_name), rows, source)

    def add_source(
        self,
        set_name: str,
        rows: Sequence[tuple[records.Prompt, records.Split]],
        lists: Sequence[records.LabelledList],
        source: str,
    ) -> Added:
        """Add the prompts and labelled lists of a source to a set, made if new, all or none.

        A prompt keeps the split that it has in the set, and a list of a train prompt is left out.
        """
        self._remember_prompts([prompt for prompt, _ in rows])
        with self._database.writing() as session:
            set_id = _set_id(session, set_name)
            prompts = _add_members(session, set_id, rows, source)
            on_train = _train_ids(session, set_id, [labelled.prompt.id for labelled in lists])
            usable = [labelled for labelled in lists if labelled.prompt.id not in on_train]
            return Added(prompts, _add_lists(session, set_id, usable), len(lists) - len(usable))

    def add_labelled_lists(self, set_name: str, lists: Sequence[records.LabelledList]) -> int:
        """Add labelled lists to a set, made if new, all or none; return how many were new to it."""
        self._remember_prompts([labelled.prompt for labelled in lists])
        with self._database.writing() as session:
            return _add_lists(session, _set_id(session, set_name), lists)

    def labelled_lists(self, set_name: str) -> list[records.LabelledList]:
        """Return the labelled lists of a set, by id.

        Raises:
            NoSuchExperiment: there is no such set.
        """
        with self._database.reading() as session:
            found = session.execute(
                select(tables.Prompt, tables.LabelledList)
                .join(tables.LabelledList, tables.LabelledList.prompt_id == tables.Prompt.id)
                .where(tables.LabelledList.prompt_set_id == known_set(session, set_name).id)
                .order_by(tables.LabelledList.id)
            )
            return [
                records.LabelledList(prompt_record(prompt), tuple(row.answers), row.source) for prompt, row in found
            ]

    def sets(self, experiment: str | None = None) -> list[PromptSetSize]:
        """Return every set, by name, with its numbers of prompts and labelled lists.

        Args:
            experiment: count as unused those that no round of this experiment has drawn; default: of any experiment.
        """
        member, labelled, sets = tables.PromptSetMember, tables.LabelledList, tables.PromptSet
        once = drawn(experiment).distinct().subquery()
        used = (
            select(func.count())
            .select_from(once)
            .join(member, member.prompt_id == once.c.prompt_id)
            .where(member.prompt_set_id == sets.id, member.split == "train")
        )
        lists = select(func.count()).where(labelled.prompt_set_id == sets.id)
        with self._database.reading() as session:
            found = session.execute(
                select(
                    *(sets.name, sets.train, sets.held_out, lists.scalar_subquery()),
                    sets.train - used.scalar_subquery(),
                ).order_by(sets.name)
            )
            return [PromptSetSize(*row) for row in found]

    def first(self, set_name: str, split: records.Split, count: int) -> list[records.Prompt]:
        """Return the first prompts of a split of the set, by id.

        Raises:
            NoSuchExperiment: there is no such set.
        """
        with self._database.reading() as session:
            members = _members(known_set(session, set_name).id, split).limit(count)
            return [prompt_record(row) for row in session.scalars(members)]

    def count_held_out(self, set_name: str) -> int:
        """Return the number of held-out prompts of a set.

        Raises:
            NoSuchExperiment: there is no such set.
        """
        with self._database.reading() as session:
            return known_set(session, set_name).held_out

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

    def _remember_prompts(self, prompts: Sequence[records.Prompt]) -> None:
        """Insert new prompts in short transactions: one for a large file would block the runs of others for minutes.

        A prompt belongs to no set yet, so an interruption leaves nothing half imported.
        """
        for part in _parts(prompts):
            rows = [{"id": prompt.id, "messages": list(prompt.messages), "text": prompt.text} for prompt in part]
            with self._database.writing() as session:
                insert_quietly(session, tables.Prompt, rows)

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


def prompt_record(row: tables.Prompt, token_ids: Sequence[int] | None = None) -> records.Prompt:
    """Return the value of a row, with the token ids that a round stored for it."""
    messages = tuple(cast(records.Message, dict(turn)) for turn in row.messages)
    return records.Prompt(row.id, messages, None if token_ids is None else tuple(token_ids))


def _members(set_id: int, split: records.Split) -> Select[tuple[tables.Prompt]]:
    return (
        select(tables.Prompt)
        .join(tables.PromptSetMember, tables.PromptSetMember.prompt_id == tables.Prompt.id)
        .where(tables.PromptSetMember.prompt_set_id == set_id, tables.PromptSetMember.split == split)
        .order_by(tables.Prompt.id)
    )


def drawn(experiment: str | None) -> Select[tuple[str]]:
    """Return the ids of the prompts that rounds have drawn, of one experiment or of all.

    A round that was closed before the policy answered has used none.
    """
    query = (
        select(tables.RoundPrompt.prompt_id)
        .join(tables.Round, tables.Round.id == tables.RoundPrompt.round_id)
        .join(tables.Experiment, tables.Experiment.id == tables.Round.experiment_id)
        .where(~without_result())
    )
    return query if experiment is None else query.where(tables.Experiment.name == experiment)


def _add_members(
    session: Session, set_id: int, rows: Sequence[tuple[records.Prompt, records.Split]], source: str
) -> int:
    added: Counter[records.Split] = Counter()
    for part in _parts(rows):
        for name in dict.fromkeys(split for _, split in part):
            members = [
                {"prompt_set_id": set_id, "prompt_id": prompt.id, "split": split, "source": source}
                for prompt, split in part
                if split == name
            ]
            added[name] += insert_quietly(session, tables.PromptSetMember, members)
    if added.total():
        sizes = {name: getattr(tables.PromptSet, name) + count for name, count in added.items()}
        session.execute(update(tables.PromptSet).where(tables.PromptSet.id == set_id).values(sizes))
    return added.total()


def _add_lists(session: Session, set_id: int, lists: Sequence[records.LabelledList]) -> int:
    added = 0
    for part in _parts(lists):
        rows = [
            {
                "prompt_set_id": set_id,
                "id": labelled.id,
                "prompt_id": labelled.prompt.id,
                "answers": list(labelled.answers),
                "source": labelled.source,
            }
            for labelled in part
        ]
        added += len(insert_new(session, tables.LabelledList, rows, tables.LabelledList.id))
    return added


def _train_ids(session: Session, set_id: int, prompt_ids: Sequence[str]) -> set[str]:
    """Return those of the prompts that are train prompts of the set."""
    member = tables.PromptSetMember
    train: ColumnElement[bool] = (member.prompt_set_id == set_id) & (member.split == "train")
    return {
        prompt_id
        for part in in_parts(prompt_ids)
        for prompt_id in session.scalars(select(member.prompt_id).where(train, member.prompt_id.in_(part)))
    }


def _parts(rows: Sequence[Item]) -> Iterator[Sequence[Item]]:
    return (rows[start : start + PART] for start in range(0, len(rows), PART))


def _set_id(session: Session, name: str) -> int:
    insert_new(session, tables.PromptSet, [{"name": name}], tables.PromptSet.id)
    return session.scalars(select(tables.PromptSet.id).where(tables.PromptSet.name == name)).one()


def known_set(session: Session, name: str) -> tables.PromptSet:
    """Return the row of a set.

    Raises:
        NoSuchExperiment: there is no such set; the message names those that there are.
    """
    found = session.scalar(select(tables.PromptSet).where(tables.PromptSet.name == name))
    if found is None:
        known = session.scalars(select(tables.PromptSet.name).order_by(tables.PromptSet.name)).all()
        raise NoSuchExperiment(
            f"There is no prompt set '{name}' (known: {', '.join(known) or 'none yet'}).{did_you_mean(name, known)} "
            f"Import one with: cyclealign prompts import FILE --set {name}"
        )
    return found
