"""A switch that loses frames as it is told, and a client that asks."""

import time

import pytest

from bench.answers import lost
from bench.asker import ANSWER_TIME, Asker
from bench.switch import Switch

pytestmark = pytest.mark.live


@pytest.fixture
def switch():
    switch = Switch(3, "mlbts")
    yield switch
    switch.remove()


@pytest.fixture
def asker(switch):
    asker = Asker(switch.client, {host.number: name for name, host in switch.nodes.items()})
    yield asker
    asker.close()


def answering(switch, asker):
    """The nodes whose own addresses are answered for, by their kernels."""
    found = asker.sweep([host.address for host in switch.nodes.values()])
    return {name for name, host in switch.nodes.items() if found[host.address] == {name}}


def test_a_node_that_cannot_be_heard_or_does_not_hear_is_silent(switch, asker):
    assert answering(switch, asker) == {"node1", "node2", "node3"}
    for cut in (switch.deafen, switch.mute, switch.silence, switch.unplug):
        cut("node2")
        assert answering(switch, asker) == {"node1", "node3"}
        switch.plug_in("node2")
        switch.heal()
        assert answering(switch, asker) == {"node1", "node2", "node3"}


def test_in_two_halves_the_client_hears_both(switch, asker):
    switch.part(["node1"])
    assert answering(switch, asker) == {"node1", "node2", "node3"}
    assert switch.hear_each_other("node2", "node3")
    assert not switch.hear_each_other("node1", "node2")
    host, other = switch.nodes["node1"], switch.nodes["node2"]
    inside = Asker(host, {other.number: other.name})
    try:
        assert inside.sweep([other.address]) == {other.address: set()}
        switch.heal()
        assert inside.sweep([other.address]) == {other.address: {"node2"}}
    finally:
        inside.close()


def test_the_client_asks_every_period_and_counts_what_is_lost(switch, asker):
    address = switch.nodes["node1"].address
    asker.watch([address])
    time.sleep(0.5)
    switch.mute("node1")
    time.sleep(0.5)
    asker.watch([])
    time.sleep(ANSWER_TIME)
    questions = asker.take().questions[address]
    assert 60 <= len(questions) <= 101  # fewer on a busy machine, never more
    assert 0 < lost(questions) < len(questions)
    assert {node for question in questions for node in question.answers} == {"node1"}


def test_questions_to_which_an_answer_may_still_come_stay_for_the_next_record(switch, asker):
    address = switch.nodes["node1"].address
    asker.watch([address])
    time.sleep(0.5)
    first = asker.take().questions[address]
    time.sleep(0.5)
    second = asker.take().questions[address]
    assert lost(first) == lost(second) == 0
    assert second[0].sent - first[-1].sent < 0.1
