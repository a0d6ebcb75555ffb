"""What is known of a peer on all interfaces together."""

from metallb_cli.layer2 import peers as module
from metallb_cli.layer2.heartbeat import LEAVING, UNSTEADY
from metallb_cli.layer2.peers import Memory, Sighting
from metallb_cli.model import Peer


def seen(node="b", boot=1, sequence=1, *, live=True, flags=0, heard=10.0):
    return Sighting(node, boot, sequence, live, flags, heard)


def test_live_on_one_interface_is_live():
    heard = {"eth0": [seen(live=False, heard=9.0, sequence=5)], "eth1": [seen(sequence=6)]}
    assert Memory().combine(heard, 12.0) == (Peer("b", 1, live=True, interfaces=("eth1",), silence=2.0),)


def test_the_interfaces_are_sorted_and_so_are_the_peers():
    heard = {"eth1": [seen(), seen("a")], "eth0": [seen()]}
    assert [(peer.node, peer.interfaces) for peer in Memory().combine(heard, 10.0)] == [
        ("a", ("eth1",)),
        ("b", ("eth0", "eth1")),
    ]


def test_the_newest_boot_counts_and_the_newest_flags():
    old = seen(boot=1, sequence=900, flags=LEAVING)
    new = seen(boot=2, sequence=7, live=False, flags=UNSTEADY)
    (peer,) = Memory().combine({"eth0": [old], "eth1": [new]}, 10.0)
    assert peer == Peer("b", 2, live=False, unsteady=True)
    (peer,) = Memory().combine({"eth0": [seen(flags=LEAVING)], "eth1": [seen(sequence=2)]}, 10.0)
    assert not peer.leaving


def test_who_was_heard_on_an_interface_that_is_gone_is_dead_and_not_unknown():
    memory = Memory()
    memory.keep([seen(sequence=7, flags=LEAVING)])
    assert memory.combine({}, 15.0) == (Peer("b", 1, live=False, leaving=True, silence=5.0),)
    assert memory.combine({"eth1": [seen(sequence=8)]}, 15.0)[0].live


def test_what_was_known_newest_is_remembered():
    memory = Memory()
    memory.keep([seen(sequence=7)])
    memory.keep([seen(sequence=5, heard=20.0)])
    assert memory.with_those_of([seen("c")]) == [seen(sequence=7, live=False), seen("c")]


def test_the_memory_is_bounded_and_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    memory = Memory()
    memory.keep(seen(f"n{number}", heard=float(number)) for number in range(10))
    assert [peer.node for peer in memory.combine({}, 10.0)] == ["n7", "n8", "n9"]
