from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.model import AddressRange, Reason, parse_address
from metallb_cli.reconcile.history import (
    GROUP_SECONDS,
    MAX_ENTRIES,
    SAME_CHANGE_SECONDS,
    Change,
    Entry,
    History,
    Stages,
    about,
    lease_name,
    merge,
    node_of,
)

STAGES = Stages(0.3, 0.002, 0.008)


def addresses(*texts):
    found = []
    for text in texts:
        first, _, last = text.partition("-")
        found.append(AddressRange(ip_address(first), ip_address(last or first)))
    return tuple(found)


def change(text, reason=Reason.OWNER_DIED, before="a", after="b", epoch=1):
    return Change(parse_address(text), reason, before, after, epoch)


def entry(time, node, *texts, reason=Reason.OWNER_DIED, before="a", after="b", **fields):
    return Entry(time, node, addresses(*texts), reason.value, before, after, **fields)


# -- one node's


def test_what_changes_hands_at_once_is_one_entry_for_each_reason_and_pair_of_nodes():
    history = History("b")
    history.record(
        [
            change("10.0.0.2", epoch=4),
            change("10.0.0.1", epoch=7),
            change("10.0.0.9", before="c"),
            change("2001:db8::1", epoch=2),
        ],
        STAGES,
        100.0,
    )
    assert history.entries == (
        entry(100.0, "b", "10.0.0.1-10.0.0.2", "2001:db8::1", epoch=7, stages=STAGES),
        entry(100.0, "b", "10.0.0.9", before="c", epoch=1, stages=STAGES),
    )


def test_changes_of_the_same_kind_in_quick_succession_are_one_entry():
    history = History("b")
    for number in range(100):
        history.record([change(f"10.0.0.{number}", Reason.CLAIMED, None)], Stages(), 100 + number / 200)
    assert history.entries == (entry(100.0, "b", "10.0.0.0-10.0.0.99", reason=Reason.CLAIMED, before=None, epoch=1),)


def test_an_address_that_came_and_went_and_came_has_all_its_entries():
    history = History("b")
    for at in (100.0, 100.2):
        history.record([change("10.0.0.1", before="a", after="b")], Stages(), at)
    history.record([change("10.0.0.1", before="b", after="a")], Stages(), 100.4)
    assert [(e.time, e.before, e.after) for e in history.entries] == [
        (100.0, "a", "b"),
        (100.2, "a", "b"),
        (100.4, "b", "a"),
    ]


def test_changes_far_apart_or_with_other_stages_are_entries_of_their_own():
    history = History("b")
    history.record([change("10.0.0.1")], Stages(), 100.0)
    history.record([change("10.0.0.2")], Stages(), 100.1 + GROUP_SECONDS)
    history.record([change("10.0.0.3")], STAGES, 100.1 + GROUP_SECONDS)
    assert len(history.entries) == 3


def test_a_history_keeps_the_newest_entries():
    history = History("b")
    for number in range(MAX_ENTRIES + 5):
        history.record([change("10.0.0.1")], Stages(), 10.0 * number)
    assert len(history.entries) == MAX_ENTRIES
    assert history.entries[0].time == 50.0


def test_a_stored_history_comes_before_what_happened_since_and_nothing_is_there_twice():
    history = History("b")
    history.record([change("10.0.0.1")], Stages(), 100.0)
    stored = (entry(50.0, "b", "10.0.0.7"), *history.entries)
    history.record([change("10.0.0.2")], Stages(), 100.5)  # joins the entry that is stored without it
    history.restore(stored)
    history.restore(stored)
    assert history.entries == (entry(50.0, "b", "10.0.0.7"), entry(100.0, "b", "10.0.0.1-10.0.0.2", epoch=1))


def test_a_gap_is_known_only_when_all_its_parts_are():
    assert round(STAGES.gap, 6) == 0.31
    assert Stages(None, 0.002, 0.008).gap is None
    assert Stages(0.3, 0.002, None).gap is None


def test_the_lease_of_a_history_is_named_after_its_node_and_is_no_speakers():
    assert node_of(lease_name("node1")) == "node1"
    assert node_of("speaker-node1") is None
    assert node_of("history-") is None


# -- all nodes'


def test_winner_and_loser_tell_of_one_change_and_the_winner_has_the_stages():
    won = entry(100.0, "b", "10.0.0.1", reason=Reason.OWNER_LEAVING, stages=Stages(None, 0.1, 0.2), epoch=3)
    lost = entry(100.9, "a", "10.0.0.1", reason=Reason.BETTER_CLAIM, epoch=2)
    assert merge([[won], [lost]]) == [won]


def test_the_losers_reason_counts_where_it_says_more():
    won = entry(100.0, "b", "10.0.0.1", stages=STAGES)
    lost = entry(99.8, "a", "10.0.0.1", reason=Reason.FENCED)
    (merged,) = merge([[lost], [won]])
    assert (merged.reason, merged.stages, merged.node, merged.time) == ("Fenced", STAGES, "b", 100.0)


def test_a_request_to_move_is_not_hidden_by_what_the_loser_heard():
    won = entry(100.0, "b", "10.0.0.1", reason=Reason.MOVE_REQUESTED)
    lost = entry(100.1, "a", "10.0.0.1", reason=Reason.BETTER_CLAIM)
    assert merge([[lost], [won]]) == [won]


def test_of_the_losers_tale_there_remains_what_no_winner_tells():
    won = entry(100.0, "b", "10.0.0.2-10.0.0.3")
    lost = entry(100.0, "a", "10.0.0.1-10.0.0.4", "10.0.0.9", reason=Reason.OWNER_LEAVING)
    merged = merge([[won], [lost]])
    assert {(e.node, *map(str, e.addresses)) for e in merged} == {
        ("b", "10.0.0.2-10.0.0.3"),
        ("a", "10.0.0.1", "10.0.0.4", "10.0.0.9"),
    }


def test_what_moved_to_and_fro_is_told_every_time():
    there = [entry(100.0, "b", "10.0.0.1"), entry(102.0, "b", "10.0.0.1")]
    back = [entry(101.0, "a", "10.0.0.1", before="b", after="a")]
    told_by_losers = [
        [entry(100.1, "a", "10.0.0.1"), entry(102.1, "a", "10.0.0.1")],
        [entry(101.1, "b", "10.0.0.1", before="b", after="a")],
    ]
    assert merge([there, back, *told_by_losers]) == [there[0], back[0], there[1]]


def test_tales_that_are_far_apart_are_of_two_changes():
    won = entry(100.0, "b", "10.0.0.1")
    lost = entry(100.1 + SAME_CHANGE_SECONDS, "a", "10.0.0.1")
    assert merge([[lost], [won]]) == [won, lost]


def test_a_loser_whose_winner_is_not_heard_is_believed():
    lost = entry(100.0, "a", "10.0.0.1", reason=Reason.FENCED, after=None)
    assert merge([[lost], []]) == [lost]


def test_the_history_of_one_address_leaves_the_others_out():
    both = entry(100.0, "b", "10.0.0.1-10.0.0.9", complete=False)
    other = entry(101.0, "b", "10.0.0.10")
    assert about([both, other], ip_address("10.0.0.5")) == [entry(100.0, "b", "10.0.0.5")]


NODES = st.sampled_from(["a", "b", "c", None])
ENTRIES = st.builds(
    lambda time, node, ip, reason, before, after: entry(time, node, ip, reason=reason, before=before, after=after),
    st.integers(0, 30).map(float),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["10.0.0.1", "10.0.0.1-10.0.0.3", "10.0.0.3", "2001:db8::1-2001:db8::8"]),
    st.sampled_from([Reason.OWNER_DIED, Reason.FENCED, Reason.BETTER_CLAIM]),
    NODES,
    NODES,
).filter(lambda e: e.before != e.after)


@given(st.lists(st.lists(ENTRIES, max_size=8), max_size=4))
def test_a_merger_is_sorted_loses_no_change_and_does_not_depend_on_the_order_of_the_histories(histories):
    merged = merge(histories)
    assert [e.time for e in merged] == sorted(e.time for e in merged)
    assert merge(reversed(histories)) == merged

    def told(entries):
        return {
            (e.before, e.after, ip_address(int(run.first) + i) if run.version == 4 else run.first)
            for e in entries
            for run in e.addresses
            for i in range(run.size if run.version == 4 else 1)
        }

    assert told(merged) == told([e for history in histories for e in history])
