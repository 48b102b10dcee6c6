"""Writing by the group: nobody goes on before their part is stored, and an error reaches everyone whose part it was."""

import asyncio
import threading

import pytest

from cyclealign.chat_api.group_commit import GroupCommitter


def test_what_waits_together_is_written_together_and_all_of_it():
    """Prevents a transaction for each reply, and a reply that is used before it is stored."""
    groups, stored, gate = [], set(), threading.Event()

    def write(items):
        gate.wait(10)
        groups.append(list(items))
        stored.update(items)

    async def run():
        async with GroupCommitter[int](write) as recorder:

            async def one(number):
                await recorder.record(number)
                assert number in stored

            tasks = [asyncio.create_task(one(number)) for number in range(50)]
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(*tasks)

    asyncio.run(run())
    assert sorted(each for group in groups for each in group) == list(range(50))
    assert len(groups) <= 2


def test_an_error_reaches_those_whose_writing_failed_and_nobody_else():
    """Prevents a reply that was lost from being used as if it were stored."""

    def write(items):
        if "bad" in items:
            raise OSError("disk full")

    async def run():
        async with GroupCommitter[str](write) as recorder:
            with pytest.raises(OSError, match="disk full"):
                await recorder.record("bad")
            await recorder.record("good")

    asyncio.run(run())


def test_the_end_waits_for_what_is_being_written():
    written = []

    async def run():
        async with GroupCommitter[int](written.extend) as recorder:
            task = asyncio.create_task(recorder.record(1))
            await asyncio.sleep(0)
        await task

    asyncio.run(run())
    assert written == [1]
