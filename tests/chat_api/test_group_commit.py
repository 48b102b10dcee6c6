"""Group commit: a writer continues only once its item is stored, and an error reaches all writers of its group."""

import asyncio
import threading

import pytest

from cyclealign.chat_api.group_commit import GroupCommitter


def test_waiting_items_are_written_together():
    """Prevents one transaction per reply, and a reply that is used before it is stored."""
    groups, stored, gate = [], set(), threading.Event()

    def write(items):
        gate.wait(10)
        groups.append(list(items))
        stored.update(items)

    async def run():
        async with GroupCommitter[int](write) as committer:

            async def one(number):
                await committer.record(number)
                assert number in stored

            tasks = [asyncio.create_task(one(number)) for number in range(50)]
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(*tasks)

    asyncio.run(run())
    assert sorted(each for group in groups for each in group) == list(range(50))
    assert len(groups) <= 2


def test_an_error_reaches_only_the_writers_of_its_group():
    """Prevents a lost reply from being used as if it were stored."""

    def write(items):
        if "bad" in items:
            raise OSError("disk full")

    async def run():
        async with GroupCommitter[str](write) as committer:
            with pytest.raises(OSError, match="disk full"):
                await committer.record("bad")
            await committer.record("good")

    asyncio.run(run())


def test_one_bad_item_does_not_take_its_group_with_it():
    """Prevents paid replies from being lost with a row that the database does not take."""
    written, gate = [], threading.Event()

    def write(items):
        gate.wait(10)
        if "bad" in items:
            raise OverflowError("too large")
        written.extend(items)

    async def run():
        async with GroupCommitter[str](write) as committer:
            items = [f"good {number}" for number in range(5)] + ["bad"]
            tasks = [asyncio.create_task(committer.record(item)) for item in items]
            await asyncio.sleep(0)
            gate.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(run())
    assert sorted(written) == [f"good {number}" for number in range(5)]
    assert [type(result) for result in results] == [type(None)] * 5 + [OverflowError]


def test_closing_waits_for_the_transaction_in_progress():
    """Prevents replies from being lost at the end of a run."""
    written = []

    async def run():
        async with GroupCommitter[int](written.extend) as committer:
            task = asyncio.create_task(committer.record(1))
            await asyncio.sleep(0)
        await task

    asyncio.run(run())
    assert written == [1]
