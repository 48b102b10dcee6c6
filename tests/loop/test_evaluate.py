"""Evaluation: the parent's held-out answers are drawn once, and never compared with answers of another sampling."""

import pytest

from cyclealign.store import Store


def held_out_answers() -> list[dict]:
    """The held-out candidates of round 2, with the temperature of their sampling."""
    with Store.open() as store, store.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT candidate.adapter_id AS adapter, candidate.sampling AS sampling FROM candidate "
            "JOIN round ON round.id = candidate.round_id "
            "JOIN round_prompt ON round_prompt.round_id = round.id AND round_prompt.prompt_id = candidate.prompt_id "
            "WHERE round.number = 2 AND round_prompt.purpose = 'held_out'"
        )
        return [dict(row) for row in rows.mappings()]


@pytest.mark.parametrize(("change", "parents"), [({}, 0), ({"temperature": 0.7}, 1), ({"system_prompt": "be kind"}, 1)])
def test_the_parent_answers_again_when_the_sampling_changes(bench, change, parents):
    """Prevents a win rate that measures a new temperature or system prompt instead of the training."""
    bench.set("acceptance", min_win_rate=0.0)
    assert bench.run()[0] == 0
    bench.set("policy", **change)
    code, output = bench.run()
    assert code == 0, output
    adapters = {row["adapter"] for row in held_out_answers()}
    assert len(adapters) == 1 + parents  # the new adapter's, and the parent's if it answered again
