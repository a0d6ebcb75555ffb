"""Sections in turn: everything goes round, what has changed goes first and twice, what no longer holds never."""

from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.layer2.rotation import BATCH, Rotation

A, B, C, D = b"a", b"b", b"c", b"d"


def settled(*sections):
    """A rotation whose sections have all been said as often as they should."""
    rotation = Rotation()
    rotation.replace(sections)
    while rotation.urgent:
        rotation.take(heartbeat=True)
    rotation.take(heartbeat=True)
    return rotation


def test_the_sections_go_round_one_with_each_heartbeat():
    rotation = settled(A, B, C)
    said = [rotation.take(heartbeat=True) for _ in range(6)]
    assert all(len(sections) == 1 for sections in said)
    assert sorted(said) == sorted([[A], [B], [C]] * 2)


def test_one_section_goes_out_with_every_heartbeat():
    rotation = settled(A)
    assert [rotation.take(heartbeat=True) for _ in range(3)] == [[A]] * 3


def test_what_has_changed_goes_out_at_once_and_again_with_the_next_heartbeat():
    rotation = settled(A, B, C)
    rotation.replace([A, D, C])
    assert rotation.urgent
    assert rotation.take(heartbeat=False) == [D]
    assert not rotation.urgent
    assert D in rotation.take(heartbeat=True)


def test_what_no_longer_holds_is_not_said_any_more():
    rotation = settled(A)
    rotation.replace([B])
    rotation.take(heartbeat=False)
    rotation.replace([C])
    said = [section for _ in range(5) for section in rotation.take(heartbeat=True)]
    assert set(said) == {C}


def test_nothing_new_is_nothing_urgent():
    rotation = settled(A, B)
    rotation.replace([A, B])
    assert not rotation.urgent


def test_everything_can_be_said_again_at_once():
    rotation = settled(A, B, C)
    rotation.hurry()
    assert rotation.take(heartbeat=False) == [A, B, C]


def test_what_is_urgent_comes_in_batches():
    many = [bytes([number]) for number in range(3 * BATCH)]
    rotation = Rotation()
    rotation.replace(many)
    batches = []
    while rotation.urgent:
        batches.append(rotation.take(heartbeat=False))
    assert [len(batch) for batch in batches] == [BATCH] * 3
    assert [section for batch in batches for section in batch] == many


@given(st.lists(st.one_of(st.booleans(), st.sets(st.sampled_from(range(30)), min_size=1)), max_size=60))
def test_whatever_happens_all_that_holds_is_said_last(steps):
    rotation, held, said = Rotation(), {0}, []
    rotation.replace([bytes([number]) for number in held])
    for step in steps:
        if isinstance(step, bool):
            taken = rotation.take(heartbeat=step)
            assert len(taken) <= BATCH + 1
            assert {section[0] for section in taken} <= held
            assert taken or not step
            said += taken
        else:
            held = step
            rotation.replace([bytes([number]) for number in sorted(held)])
    final = [section for _ in range(2 * len(held) + 10) for section in rotation.take(heartbeat=True)]
    assert {section[0] for section in final} == held
    assert not rotation.urgent
