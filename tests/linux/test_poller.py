"""The poller: it goes on answering until somebody has more to do or the deadline is over, and then says so."""

import math
import os
import time
from contextlib import closing

import pytest

from metallb_cli.linux.poller import Done, Poller

SPIN = 0.3


class Questions:
    """A pipe: each byte in it is a question, and the handler answers one of them."""

    def __init__(self, poller, outcomes=()):
        self._read, self._write = os.pipe()
        self.outcomes = list(outcomes)
        self.times = []
        poller.register(self._read, self._answer)

    def ask(self, count=1):
        os.write(self._write, b"?" * count)

    def _answer(self, now):
        os.read(self._read, 1)
        self.times.append(now)
        return self.outcomes.pop(0) if self.outcomes else None

    def close(self):
        os.close(self._read)
        os.close(self._write)


@pytest.fixture(params=[0.0, SPIN], ids=["sleeping", "spinning"])
def poller(request):
    with closing(Poller(request.param)) as poller:
        yield poller


def test_what_is_done_with_does_not_end_the_wait_and_more_to_do_does(poller):
    with closing(Questions(poller, [Done.ANSWERED, Done.IGNORED, None])) as questions:
        questions.ask(4)
        assert poller.wait(None) == questions.times[-1]
        assert len(questions.times) == 3


def test_the_deadline_ends_the_wait_also_while_questions_come(poller):
    with closing(Questions(poller, [Done.ANSWERED] * 10_000)) as questions:
        questions.ask(10_000)
        deadline = time.monotonic() + 0.005
        now = poller.wait(deadline)
        assert now >= deadline
        assert 1 < len(questions.times) < 10_000


def test_a_deadline_that_is_over_still_looks_once(poller):
    with closing(Questions(poller, [Done.ANSWERED] * 2)) as questions:
        questions.ask(2)
        assert poller.wait(0.0) == questions.times[0]
        assert len(questions.times) == 1


def test_it_is_woken_before_the_first_handler_and_before_the_one_after_the_deadline(poller):
    with closing(Questions(poller, [Done.ANSWERED] * 10_000)) as questions:
        questions.ask(10_000)
        deadline = time.monotonic() + 0.005
        woken = []
        poller.wait(deadline, lambda now: woken.append((now, len(questions.times))))
        assert woken == [(questions.times[0], 0), (questions.times[-1], len(questions.times) - 1)]
        assert woken[-1][0] >= deadline


@pytest.mark.parametrize("outcome", [Done.ANSWERED, Done.IGNORED])
def test_only_an_answer_keeps_it_awake_and_then_it_sleeps(outcome):
    with closing(Poller(SPIN)) as poller, closing(Questions(poller, [outcome])) as questions:
        questions.ask()
        began, used = time.monotonic(), time.thread_time()
        poller.wait(began + 2 * SPIN)
        awake = time.thread_time() - used
        assert time.monotonic() - began >= 2 * SPIN
        if outcome is Done.ANSWERED:  # on a busy machine it has the processor for a part of the time only
            assert SPIN / 10 < awake <= SPIN + 0.02
        else:
            assert awake < SPIN / 10


def test_an_endless_deadline_is_one_like_any_other(poller):
    with closing(Questions(poller)) as questions:
        questions.ask()
        assert poller.wait(math.inf) == questions.times[0]


REST = 0.05


def resting(poller, outcomes):
    """Questions at which the poller looks only so often; the handler says when there is none."""
    questions = Questions(poller)
    poller.unregister(questions._read)
    os.set_blocking(questions._read, False)

    def look(now):
        questions.times.append(now)
        try:
            os.read(questions._read, 100)
        except BlockingIOError:
            return Done.NOTHING
        return outcomes

    poller.register(questions._read, look, REST)
    return questions


@pytest.mark.parametrize("outcome", [Done.IGNORED, None])
def test_what_comes_during_a_rest_waits_until_its_end(outcome):
    with closing(Poller()) as poller, closing(resting(poller, outcome)) as questions:
        questions.ask()
        end = time.monotonic() + 2.5 * REST
        poller.wait(end)
        questions.ask()
        while time.monotonic() < end:
            poller.wait(end)
        first, second, *others = questions.times
        assert REST <= second - first < 2 * REST
        assert len(others) <= 1  # nothing was there any more


def test_after_a_look_in_vain_the_next_one_is_at_once():
    with closing(Poller()) as poller, closing(resting(poller, Done.IGNORED)) as questions:
        questions.ask()
        poller.wait(time.monotonic() + 3 * REST)
        assert len(questions.times) == 2  # it rests, looks in vain, and sleeps
        questions.ask()
        asked = time.monotonic()
        poller.wait(asked + REST / 2)
        assert len(questions.times) == 3
        assert questions.times[-1] - asked < REST / 2


def test_a_descriptor_that_rests_can_be_forgotten():
    with closing(Poller()) as poller, closing(resting(poller, Done.IGNORED)) as questions:
        questions.ask()
        poller.wait(time.monotonic() + REST / 2)
        poller.unregister(questions._read)
        poller.wait(time.monotonic() + 2 * REST)
        assert len(questions.times) == 1


def test_it_says_whether_there_is_more_to_do_than_the_deadline(poller):
    with closing(Questions(poller, [Done.ANSWERED, None])) as questions:
        questions.ask()
        poller.wait(time.monotonic() + 0.01)
        assert not poller.more
        questions.ask()
        poller.wait(math.inf)
        assert poller.more
