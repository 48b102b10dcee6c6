"""Generation and judging at once: signals and failures of both sides. Nothing sleeps: each side waits for the other."""

import asyncio
import threading

import pytest

from cyclealign.errors import JudgeUnavailable, PolicyError
from cyclealign.loop import concurrency
from cyclealign.loop.concurrency import BackgroundWorker, OtherSideFailed, WorkSignal, consume_jobs
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.store import Store

LONG = 120


class Shelf:
    """Jobs that are put there one after another; the results in the order in which they ended."""

    def __init__(self):
        self.new, self.done, self.at_work, self.most = [], [], 0, 0
        self.news = threading.Condition()

    def put(self, name, signal, doing=None):
        async def job(ask_judge):
            self.at_work += 1
            self.most = max(self.most, self.at_work)
            await asyncio.sleep(0)
            if doing:
                await doing()
            self.at_work -= 1
            with self.news:
                self.done.append(name)
                self.news.notify_all()
            return name

        self.new.append(job)
        signal.notify()

    def look(self):
        found, self.new = self.new, []
        return found

    def wait_for(self, count):
        with self.news:
            assert self.news.wait_for(lambda: len(self.done) >= count, LONG)

    def work(self, at_once=2):
        return lambda signal: signal.run(lambda: consume_jobs(None, self.look, signal, at_once))


def test_work_begins_before_all_is_made():
    """Prevents two sides that take turns: then the maker would wait here for ever."""
    shelf = Shelf()
    with BackgroundWorker(shelf.work()) as other:
        for count, name in enumerate("abc", 1):
            shelf.put(name, other.signal)
            shelf.wait_for(count)
        assert other.result() == ["a", "b", "c"]


def test_results_keep_their_order_and_few_are_under_way():
    """Prevents a thousand requests at once where eight were allowed, and results that depend on who was quickest."""
    shelf, signal = Shelf(), WorkSignal()
    for name in range(20):
        shelf.put(name, signal)
    signal.close()
    assert shelf.work(at_once=3)(signal) == list(range(20))
    assert shelf.most == 3


def test_an_error_of_the_work_ends_the_making_and_is_the_one_that_is_raised():
    """Prevents hours of generation for a judge that is gone, and a message that names the wrong side."""
    shelf, made = Shelf(), []

    async def fail():
        raise JudgeUnavailable("gone")

    def make():
        with BackgroundWorker(shelf.work()) as other:
            for name in range(1000):
                shelf.put(name, other.signal, fail)
                assert other.signal._stopped.wait(LONG)
                made.append(name)
                other.signal.raise_if_stopped()

    with pytest.raises(JudgeUnavailable, match="gone"):
        make()
    assert made == [0]


def test_an_error_of_the_making_lets_what_was_begun_end_and_begins_nothing_more():
    """Prevents calls that are paid for and thrown away, and a long wait for work that nobody wants any more."""
    shelf, begun, failing = Shelf(), threading.Event(), threading.Event()

    async def slow():
        begun.set()
        await asyncio.to_thread(failing.wait, LONG)

    def make():
        with BackgroundWorker(shelf.work(at_once=1)) as other:
            for name in range(5):
                shelf.put(name, other.signal, slow)
            assert begun.wait(LONG)
            other.signal.stop()  # as the end of the block does it, at a moment that the test can tell
            failing.set()
            raise PolicyError("out of memory")

    with pytest.raises(PolicyError, match="out of memory"):
        make()
    assert shelf.done == [0]


def test_a_second_interrupt_cuts_off_what_is_under_way(monkeypatch):
    """Prevents a program that cannot be ended while a judge keeps silent."""
    shelf, begun = Shelf(), threading.Event()

    async def silent():
        begun.set()
        await asyncio.Event().wait()

    def interrupted(_):
        raise KeyboardInterrupt

    def make():
        with BackgroundWorker(shelf.work()) as other:
            shelf.put("a", other.signal, silent)
            assert begun.wait(LONG)
            raise KeyboardInterrupt

    monkeypatch.setattr(concurrency, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make()
    assert shelf.done == []


def test_a_maker_learns_of_the_end_even_of_work_that_looks_in_vain():
    """Prevents a maker that goes on although the database has failed the other side."""

    def look():
        raise OSError("disk full")

    def make():
        with BackgroundWorker(lambda signal: signal.run(lambda: consume_jobs(None, look, signal, 1))) as other:
            other.signal.notify()
            assert other.signal._stopped.wait(LONG)
            with pytest.raises(OtherSideFailed):
                other.signal.raise_if_stopped()
            other.result()

    with pytest.raises(OSError, match="disk full"):
        make()


def in_second_batch(monkeypatch, do):
    """Call ``do`` before the policy answers its second batch."""
    original, calls = TransformersPolicy.answer, []

    def answer(*args):
        calls.append(args)
        if len(calls) == 2:
            do()
        return original(*args)

    monkeypatch.setattr(TransformersPolicy, "answer", answer)
    return calls


def stored(bench):
    with Store.open() as store:
        round_ = store.rounds.unfinished("bench")
        return store.candidates.by_prompt(round_.id), store.rankings.by_prompt(round_.id, "judge")


def goes_on(bench, monkeypatch):
    monkeypatch.undo()
    bench.judge.status = None
    code, output = bench.run()
    assert code == 0, output
    assert max(bench.judge.answered.values()) == 1


@pytest.fixture
def long_bench(bench, monkeypatch):
    """A bench of 8 prompts in 4 batches; ``monkeypatch.undo`` must leave the bench's own settings alone."""
    bench.set("prompts", per_round=8)
    with pytest.MonkeyPatch.context() as patches:
        yield bench, patches


def test_a_judge_that_is_gone_stops_generation_after_its_batch(long_bench):
    """Prevents a round that goes on generating for hours for nobody, and one that loses the batch in hand."""
    bench, patches = long_bench
    stopped, original = threading.Event(), WorkSignal.stop
    patches.setattr(WorkSignal, "stop", lambda signal: (original(signal), stopped.set()))
    in_second_batch(patches, lambda: stopped.wait(LONG))
    bench.judge.status = lambda number: 401
    code, output = bench.run()
    assert code == 1
    assert "JudgeUnavailable" in output
    candidates, verdicts = stored(bench)
    assert (len(candidates), len(verdicts)) == (4, 0)
    goes_on(bench, patches)


def test_a_policy_error_leaves_the_calls_under_way_stored(long_bench):
    """Prevents the loss of replies that are paid for, and calls for a round that cannot go on."""
    bench, patches = long_bench
    asked, failing, script = threading.Event(), threading.Event(), bench.judge.script

    def slow(answers):
        asked.set()
        assert failing.wait(LONG)
        return script(answers)

    def fail():
        assert asked.wait(LONG)
        failing.set()
        raise PolicyError("out of memory")

    bench.judge.script = slow
    in_second_batch(patches, fail)
    code, output = bench.run()
    assert code == 1
    assert "PolicyError: out of memory" in output
    candidates, verdicts = stored(bench)
    assert set(verdicts) == set(candidates)
    assert len(candidates) == 2
    goes_on(bench, patches)
