"""What one node does about one address or a few: each test is a sentence of docs/ownership.md, or an edge of one."""

from ipaddress import ip_address

import pytest

from metallb_cli.election import Change, Mode, Ownership, Standing, Wish
from metallb_cli.model import Claim, Reason, Section
from tests.election.node import EVERYTHING, NODES, OneNode, address_preferring

MAX_EPOCH = 2**32 - 1
A_FIRST = address_preferring("a", "b", "c")
B_FIRST = address_preferring("b", "a", "c")
C_FIRST = address_preferring("c", "a", "b")

# -- an address that nobody has


def test_an_address_that_nobody_had_is_claimed_by_the_first_of_the_hash_with_epoch_1_and_probed():
    node = OneNode("a")
    decision = node.want(A_FIRST)
    assert decision.claims == {A_FIRST: Claim(1)}
    assert decision.probe == {A_FIRST}
    assert decision.changes == (Change(A_FIRST, Reason.CLAIMED, None, "a", 1),)


def test_an_address_that_nobody_had_is_left_to_the_first_of_the_hash():
    node = OneNode("a")
    assert not node.want(B_FIRST).claims
    assert not node.after(0.9).claims
    assert node.ownership.owner(B_FIRST) is None


def test_if_the_first_of_the_hash_does_nothing_for_two_seconds_the_second_takes_over():
    node = OneNode("a")
    node.want(B_FIRST)
    assert not node.after(1.9).claims
    assert node.after(0.2).claims == {B_FIRST: Claim(1)}


def test_only_candidates_take_over():
    node = OneNode("a")
    assert not node.want(A_FIRST, nodes=("b", "c")).claims
    assert not node.after(60).claims


def test_candidates_that_are_not_alive_are_passed_over():
    node = OneNode("a", peers=("c",))
    assert node.want(B_FIRST).claims == {B_FIRST: Claim(1)}


def test_nobody_answers_without_candidates():
    node = OneNode("a")
    assert not node.want(A_FIRST, nodes=()).claims
    assert node.ownership.next_deadline() is None


def test_a_speaker_that_starts_listens_before_it_takes_over():
    node = OneNode("a", peers=(), start=True)
    assert not node.want(A_FIRST).claims
    assert not node.until(0.49).claims
    assert node.until(0.5).claims


def test_a_longer_listening_after_the_start_is_not_prolonged_by_its_whole_length():
    ownership = Ownership("a", 0.0, cold=3.0)
    ownership.set_live({"b": Standing()}, True, 0.0)
    ownership.want(A_FIRST, Wish(frozenset("ab")))
    assert ownership.decide(2.9).claims == {}
    ownership.hear("b", Section(*EVERYTHING[4], ((ip_address("10.9.9.9"), Claim(1)),)), 2.9)
    assert ownership.decide(3.3).claims == {}
    assert A_FIRST in ownership.decide(3.5).claims


def test_after_a_long_listening_a_speaker_takes_its_share_and_not_everything():
    ownership = Ownership("a", 0.0, cold=4.0)
    ownership.set_live(dict.fromkeys("bc", Standing()), True, 0.0)
    for address in (A_FIRST, B_FIRST, C_FIRST):
        ownership.want(address, Wish(frozenset("abc")))
    assert list(ownership.decide(4.0).claims) == [A_FIRST]
    assert list(ownership.decide(4.9).claims) == [A_FIRST]


def test_when_a_whole_cluster_starts_the_first_speaker_leaves_the_others_their_share():
    addresses = [ip_address("10.0.0.0") + n for n in range(30)]
    ownership = Ownership("a", 0.0, cold=3.0)
    for address in addresses:
        ownership.want(address, Wish(NODES))
    ownership.set_live({"b": Standing()}, True, 1.0)
    ownership.set_live({"b": Standing(), "c": Standing()}, True, 2.0)
    decision = ownership.decide(3.0)
    assert 7 <= len(decision.claims) <= 13
    assert not decision.unsteady


def test_listening_goes_on_while_claims_are_heard_that_were_not_known():
    node = OneNode("a", peers=("b",), start=True)
    late = address_preferring("a", "b", "c", number=1)
    node.live(b=Standing(unsteady=True))
    node.want(A_FIRST, late)
    node.until(0.4)
    node.hears("b", A_FIRST)
    assert not node.until(0.89).claims
    node.hears("b", late)
    assert not node.until(20).claims


def test_steady_nodes_come_before_unsteady_ones():
    node = OneNode("a")
    node.live("c", b=Standing(unsteady=True))
    assert list(node.want(B_FIRST, address_preferring("b", "c", "a")).claims) == [B_FIRST]


def test_a_node_that_has_just_started_gets_nothing_new_for_three_seconds():
    node = OneNode("a", start=True)
    node.until(1.0)
    assert node.decide().unsteady
    assert not node.want(A_FIRST).claims
    node.hears("b", A_FIRST)
    assert not node.until(3.0).unsteady


# -- claims of others


def test_an_address_stays_with_its_owner_whatever_the_hash_says():
    node = OneNode("a")
    node.hears("c", A_FIRST)
    assert not node.want(A_FIRST).claims
    assert not node.after(60).claims
    assert node.ownership.owner(A_FIRST) == "c"


def test_a_contested_claim_is_respected():
    node = OneNode("a")
    node.hears("c", A_FIRST, contested=True)
    assert not node.want(A_FIRST).claims
    assert not node.after(60).claims


@pytest.mark.parametrize(
    ("mine", "theirs", "yields"),
    [
        (Claim(1), Claim(2), True),
        (Claim(2), Claim(1), False),
        (Claim(1), Claim(2, strong=False), False),
        (Claim(1), Claim(MAX_EPOCH, strong=False), False),
        (Claim(5, strong=False), Claim(1), True),
        (Claim(5, strong=False), Claim(1, strong=False), False),
    ],
)
def test_the_better_claim_wins(mine, theirs, yields):
    node = OneNode("a", quorum=mine.strong)
    if mine.epoch > 1:
        node.hears("b", A_FIRST, epoch=mine.epoch - 1)
        node.want(A_FIRST)
        node.hears_withdrawn("b", A_FIRST)
    assert node.want(A_FIRST).claims == {A_FIRST: mine}
    decision = node.hears("b", A_FIRST, epoch=theirs.epoch, strong=theirs.strong)
    assert (A_FIRST not in decision.claims) == yields
    assert decision.yielding == ({A_FIRST: "b"} if yields else {})
    assert node.ownership.owner(A_FIRST) == ("b" if yields else "a")


@pytest.mark.parametrize(("address", "yields"), [(A_FIRST, False), (B_FIRST, True)])
def test_of_equal_claims_the_one_of_the_first_in_the_hash_wins(address, yields):
    node = OneNode("a", peers=("c",))
    node.want(address)
    node.live("b", "c")
    assert bool(node.hears("b", address).yielding) == yields


def test_a_claim_of_a_dead_node_counts_for_nothing_but_its_epoch():
    node = OneNode("a", peers=("c",))
    node.hears("b", A_FIRST, epoch=7)
    assert node.want(A_FIRST).claims == {A_FIRST: Claim(8)}


def test_a_claim_that_is_heard_before_the_service_is_known_counts():
    node = OneNode("a")
    node.hears("c", A_FIRST, epoch=3)
    node.want(A_FIRST)
    assert node.ownership.owner(A_FIRST) == "c"


def test_a_section_without_the_claim_takes_it_back():
    node = OneNode("a")
    node.hears("c", A_FIRST, epoch=3)
    node.want(A_FIRST)
    assert node.hears_withdrawn("c", A_FIRST).claims == {A_FIRST: Claim(4)}


# -- taking over


def test_when_the_owner_dies_the_next_one_takes_over_at_once_and_without_probing():
    node = OneNode("a")
    node.hears("b", A_FIRST, epoch=4)
    node.want(A_FIRST)
    node.live("c")
    decision = node.decide()
    assert decision.claims == {A_FIRST: Claim(5, strong=False)}
    assert not decision.probe
    assert decision.changes == (Change(A_FIRST, Reason.OWNER_DIED, "b", "a", 5),)


def test_when_a_node_dies_that_was_leaving_the_reason_is_that_it_left():
    node = OneNode("a")
    node.hears("b", C_FIRST)
    node.want(C_FIRST)
    node.live("c", b=Standing(leaving=True))
    assert not node.decide().claims
    node.live()
    assert node.decide().changes == (Change(C_FIRST, Reason.OWNER_LEAVING, "b", "a", 2),)


def test_a_node_that_started_anew_has_no_claims():
    node = OneNode("a")
    node.hears("b", A_FIRST, epoch=4)
    node.want(A_FIRST)
    node.ownership.forget("b")
    assert node.decide().claims == {A_FIRST: Claim(5)}


def test_a_node_that_was_only_silent_is_owner_again_when_its_claim_is_the_better_one():
    node = OneNode("a", peers=("b",), quorum=True)
    node.hears("b", A_FIRST, epoch=4)
    node.want(A_FIRST)
    node.live(quorum=False)
    assert node.decide().claims == {A_FIRST: Claim(5, strong=False)}
    node.live("b", quorum=True)
    assert node.decide().yielding == {A_FIRST: "b"}


def test_epochs_end_and_do_not_wrap():
    node = OneNode("a", peers=("c",))
    node.hears("b", A_FIRST, epoch=MAX_EPOCH)
    assert node.want(A_FIRST).claims == {A_FIRST: Claim(MAX_EPOCH)}


# -- strength


def test_a_claim_made_out_of_touch_is_weak_and_becomes_strong_after_a_whole_second_of_quorum():
    node = OneNode("a", peers=(), quorum=False)
    assert node.want(A_FIRST).claims == {A_FIRST: Claim(1, strong=False)}
    node.live("b")
    assert node.after(0.9).claims == {A_FIRST: Claim(1, strong=False)}
    node.live("b", quorum=False)
    node.after(0.5)
    node.live("b")
    assert node.after(0.9).claims == {A_FIRST: Claim(1, strong=False)}
    assert node.after(0.2).claims == {A_FIRST: Claim(1)}


def test_a_node_that_loses_one_peer_after_the_other_claims_nothing_strong_meanwhile():
    """Who is cut off still hears more than half, as it seems, when it believes the first of them dead."""
    node = OneNode("a")
    node.hears("b", A_FIRST)
    node.want(A_FIRST)
    node.live("c")
    assert node.decide().claims == {A_FIRST: Claim(2, strong=False)}
    node.after(0.1)
    node.live(quorum=False)
    assert node.after(60).claims == {A_FIRST: Claim(2, strong=False)}


def test_a_strong_claim_stays_strong_when_the_others_are_lost():
    node = OneNode("a")
    node.want(A_FIRST)
    node.live(quorum=False)
    assert node.after(60).claims == {A_FIRST: Claim(1)}


def test_what_is_taken_from_a_node_that_was_lost_is_weak_until_a_second_has_passed_without_losing_more():
    node = OneNode("a")
    node.hears("b", A_FIRST)
    node.want(A_FIRST)
    node.live("c")
    assert node.decide().claims == {A_FIRST: Claim(2, strong=False)}
    assert node.after(0.9).claims == {A_FIRST: Claim(2, strong=False)}
    assert node.after(0.2).claims == {A_FIRST: Claim(2)}


def test_what_is_taken_from_a_node_that_was_leaving_is_strong_at_once():
    node = OneNode("a")
    node.hears("b", A_FIRST)
    node.want(A_FIRST)
    node.live("c", b=Standing(leaving=True))
    node.live("c")
    assert node.decide().claims == {A_FIRST: Claim(2)}


def test_when_a_lan_breaks_into_equal_parts_and_heals_every_address_goes_back_to_where_it_was():
    theirs = address_preferring("c", "a", "b", "d")
    node = OneNode("a", peers=("b", "c", "d"))
    node.hears("c", theirs)
    node.want(theirs, nodes=("a", "b", "c", "d"))
    node.live("b", "d")  # the first of the other part; three of four are a majority still
    assert node.decide().claims == {theirs: Claim(2, strong=False)}
    node.live("b", quorum=False)
    assert node.after(60).claims == {theirs: Claim(2, strong=False)}
    node.live("b", "c", "d")
    decision = node.hears("c", theirs)
    assert decision.claims == {}
    assert decision.yielding == {theirs: "c"}


# -- yielding


def test_a_yield_ends_when_the_link_process_says_so():
    node = OneNode("a")
    node.want(A_FIRST)
    node.hears("b", A_FIRST, epoch=2)
    node.ownership.released(frozenset({A_FIRST}))
    assert node.decide().yielding == {}


def test_a_yield_ends_after_a_second():
    node = OneNode("a")
    node.want(A_FIRST)
    node.hears("b", A_FIRST, epoch=2)
    assert node.after(0.99).yielding == {A_FIRST: "b"}
    assert node.after(0.01).yielding == {}


def test_when_the_better_claim_is_gone_during_the_yield_the_node_answers_as_owner_again():
    node = OneNode("a", peers=("b",))
    node.want(A_FIRST)
    node.hears("b", A_FIRST, epoch=2)
    node.live()
    decision = node.decide()
    assert decision.claims == {A_FIRST: Claim(1)}
    assert decision.yielding == {}
    assert decision.changes == (Change(A_FIRST, Reason.OWNER_DIED, "b", "a", 1),)


def test_a_claim_is_still_said_for_a_second_after_a_better_one_was_heard():
    """Somebody may hear late of the new owner; without this he would take the address for free."""
    node = OneNode("a")
    node.want(A_FIRST)
    node.hears("b", A_FIRST, epoch=2)
    node.ownership.released(frozenset({A_FIRST}))
    decision = node.after(0.99)
    assert decision.said == {A_FIRST: Claim(1)}
    assert not decision.claims
    assert not decision.yielding
    assert not node.after(0.01).said


def test_a_claim_of_a_node_that_may_not_answer_any_more_is_not_said_any_more():
    node = OneNode("a")
    node.want(A_FIRST)
    assert not node.want(A_FIRST, nodes=("b", "c")).said


def test_a_weak_claim_does_not_become_strong_after_a_better_one_was_heard():
    node = OneNode("a", peers=(), quorum=False)
    node.want(A_FIRST)
    node.live("b", "c")
    node.after(0.5)
    node.hears("b", A_FIRST)
    assert node.after(0.9).said == {A_FIRST: Claim(1, strong=False)}


def test_an_address_that_another_host_has_is_given_up_without_a_yield():
    node = OneNode("a")
    node.want(A_FIRST)
    node.ownership.contested(frozenset({A_FIRST}))
    assert node.decide().claims == {A_FIRST: Claim(1, contested=True)}
    node.ownership.contested(frozenset())
    assert node.decide().claims == {A_FIRST: Claim(1)}
    node.ownership.contested(frozenset({A_FIRST}))
    assert node.hears("b", A_FIRST, epoch=2).yielding == {}


# -- leaving


def test_a_leaving_owner_answers_until_it_hears_who_takes_over():
    node = OneNode("a")
    node.want(A_FIRST)
    node.ownership.set_leaving(True)
    assert node.decide().claims == {A_FIRST: Claim(1)}
    decision = node.hears("b", A_FIRST, epoch=2)
    assert decision.yielding == {A_FIRST: "b"}
    assert decision.changes == (Change(A_FIRST, Reason.OWNER_LEAVING, "a", "b", 2),)


def test_a_leaving_owner_yields_also_to_a_weak_claim():
    node = OneNode("a")
    node.want(A_FIRST)
    node.ownership.set_leaving(True)
    assert node.hears("b", A_FIRST, epoch=2, strong=False).yielding == {A_FIRST: "b"}


def test_the_addresses_of_a_leaving_node_are_taken_over():
    node = OneNode("a")
    node.hears("b", A_FIRST)
    node.want(A_FIRST)
    node.live("c", b=Standing(leaving=True))
    decision = node.decide()
    assert decision.claims == {A_FIRST: Claim(2)}
    assert decision.changes[0].reason is Reason.OWNER_LEAVING


def test_if_all_are_leaving_the_owner_stays_owner():
    node = OneNode("a")
    node.want(A_FIRST)
    node.hears("b", B_FIRST)
    node.want(B_FIRST)
    node.ownership.set_leaving(True)
    node.live(b=Standing(leaving=True), c=Standing(leaving=True))
    assert node.after(60).claims == {A_FIRST: Claim(1)}
    assert node.ownership.owner(B_FIRST) == "b"


def test_if_all_are_leaving_an_address_without_an_owner_is_still_taken_over():
    node = OneNode("a", peers=())
    node.ownership.set_leaving(True)
    assert node.want(A_FIRST).claims == {A_FIRST: Claim(1)}


def test_the_last_one_that_was_leaving_hands_over_when_another_one_comes():
    node = OneNode("a", peers=())
    node.ownership.set_leaving(True)
    node.want(A_FIRST)
    node.live("b")
    assert node.decide().claims == {A_FIRST: Claim(1)}
    assert node.hears("b", A_FIRST, epoch=2).yielding == {A_FIRST: "b"}


def test_of_two_leaving_nodes_that_have_an_address_the_worse_one_yields():
    node = OneNode("a")
    node.want(A_FIRST)
    node.ownership.set_leaving(True)
    node.live("c", b=Standing(leaving=True))
    assert node.decide().claims
    assert A_FIRST in node.hears("b", A_FIRST, epoch=2).yielding
    assert not node.after(60).claims


def test_a_leaving_node_that_yielded_to_one_that_leaves_too_goes_on_yielding():
    node = OneNode("a")
    node.want(A_FIRST)
    node.ownership.set_leaving(True)
    node.hears("b", A_FIRST, epoch=2)
    node.live("c", b=Standing(leaving=True))
    assert node.decide().yielding
    assert not node.decide().claims


# -- who may answer


def test_an_owner_that_may_not_answer_any_more_yields_to_the_one_that_takes_over():
    node = OneNode("a")
    node.want(A_FIRST)
    decision = node.want(A_FIRST, nodes=("b", "c"))
    assert not decision.claims
    assert decision.yielding == {A_FIRST: "b"}
    assert decision.changes == (Change(A_FIRST, Reason.OWNER_NOT_ELIGIBLE, "a", None, 1),)
    assert node.after(1.0).yielding == {}


def test_an_owner_that_may_not_answer_any_more_stops_at_once_if_nobody_can_take_over():
    node = OneNode("a")
    node.want(A_FIRST)
    decision = node.want(A_FIRST, nodes=("d",))
    assert not decision.claims
    assert not decision.yielding


def test_an_address_that_nobody_shall_answer_for_is_dropped_at_once():
    node = OneNode("a")
    node.want(A_FIRST)
    node.ownership.want(A_FIRST, None)
    decision = node.decide()
    assert not decision.claims
    assert not decision.yielding
    assert decision.changes == (Change(A_FIRST, Reason.OWNER_NOT_ELIGIBLE, "a", None, 1),)
    assert node.ownership.owner(A_FIRST) is None


def test_a_live_node_that_claims_without_being_a_candidate_may_know_more_for_two_seconds():
    node = OneNode("a")
    node.hears("b", A_FIRST, epoch=4)
    assert not node.want(A_FIRST, nodes=("a", "c")).claims
    assert not node.after(1.9).claims
    decision = node.after(0.1)
    assert decision.claims == {A_FIRST: Claim(5)}
    assert node.reasons == [Reason.OWNER_NOT_ELIGIBLE]


def test_two_nodes_that_see_different_candidates_take_an_address_from_each_other_ever_more_rarely():
    node = OneNode("a", peers=("b",))
    epoch = 4
    node.want(A_FIRST, nodes=("a",))
    node.hears("b", A_FIRST, epoch=epoch)
    for second in range(600):
        if node.until(10 + second).claims:
            assert node.hears("b", A_FIRST, epoch=2 * second + 10).claims == {}
    assert 5 < node.reasons.count(Reason.BETTER_CLAIM) < 10


def test_an_owner_that_is_no_candidate_is_not_taken_from_with_a_claim_that_it_would_not_respect():
    node = OneNode("a", quorum=False)
    node.hears("b", A_FIRST, epoch=4)
    node.want(A_FIRST, nodes=("a", "c"))
    assert not node.after(60).claims
    node.live("b", "c")
    assert not node.after(0.9).claims
    assert node.after(0.2).claims == {A_FIRST: Claim(5)}


# -- requests to move


def test_a_request_to_move_is_fulfilled_once():
    node = OneNode("a")
    node.hears("b", C_FIRST, epoch=4)
    decision = node.want(C_FIRST, move_to="a", move_epoch=4)
    assert decision.claims == {C_FIRST: Claim(5)}
    assert decision.changes == (Change(C_FIRST, Reason.MOVE_REQUESTED, "b", "a", 5),)
    node.hears("c", C_FIRST, epoch=6)
    assert node.after(60).claims == {}


def test_the_owner_hands_over_to_the_node_of_the_request():
    node = OneNode("a")
    node.want(A_FIRST)
    assert node.want(A_FIRST, move_to="b", move_epoch=1).claims == {A_FIRST: Claim(1)}
    assert node.hears("b", A_FIRST, epoch=2).changes == (Change(A_FIRST, Reason.MOVE_REQUESTED, "a", "b", 2),)


def test_the_epoch_of_a_fulfilled_request_is_higher_than_that_of_the_request():
    node = OneNode("a")
    node.hears("b", C_FIRST, epoch=4)
    assert node.want(C_FIRST, move_to="a", move_epoch=100).claims == {C_FIRST: Claim(101)}


@pytest.mark.parametrize("move_epoch", [3, MAX_EPOCH, 2**70])
def test_a_request_that_is_spent_or_out_of_range_moves_nothing(move_epoch):
    node = OneNode("a")
    node.hears("b", C_FIRST, epoch=4)
    assert not node.want(C_FIRST, move_to="a", move_epoch=move_epoch).claims
    assert not node.after(60).claims


def test_a_request_waits_for_its_node_to_be_a_live_candidate_that_stays():
    node = OneNode("a", peers=("c",))
    node.want(A_FIRST, move_to="b", move_epoch=5)
    node.live("c", b=Standing(leaving=True))
    assert node.after(60).claims == {A_FIRST: Claim(1)}
    assert node.want(A_FIRST, nodes=("a", "c"), move_to="b", move_epoch=5).claims == {A_FIRST: Claim(1)}


def test_a_request_decides_also_who_takes_over_from_the_dead():
    node = OneNode("a")
    node.hears("b", A_FIRST, epoch=4)
    node.want(A_FIRST, move_to="c", move_epoch=4)
    node.live("c")
    assert not node.decide().claims


def test_a_request_that_would_need_a_strong_claim_waits_for_it():
    node = OneNode("a", quorum=False)
    node.hears("b", C_FIRST, epoch=4)
    assert not node.want(C_FIRST, move_to="a", move_epoch=4).claims
    node.live("b", "c")
    assert node.after(1.0).claims == {C_FIRST: Claim(5)}


# -- as MetalLB


def test_as_in_metallb_the_first_of_the_hash_takes_over_from_anybody():
    node = OneNode("a", mode=Mode.METALLB)
    node.hears("b", A_FIRST, epoch=4)
    decision = node.want(A_FIRST)
    assert decision.claims == {A_FIRST: Claim(5)}
    assert decision.changes == (Change(A_FIRST, Reason.ELECTED, "b", "a", 5),)


def test_as_in_metallb_the_owner_answers_until_the_first_of_the_hash_does():
    node = OneNode("a", peers=("c",), mode=Mode.METALLB)
    node.want(B_FIRST)
    node.live("b", "c")
    assert node.after(0.5).claims == {B_FIRST: Claim(1)}
    decision = node.hears("b", B_FIRST, epoch=2)
    assert decision.yielding == {B_FIRST: "b"}
    assert decision.changes[0].reason is Reason.ELECTED


def test_as_in_metallb_an_unsteady_node_is_not_passed_over():
    node = OneNode("a", mode=Mode.METALLB)
    node.live("c", b=Standing(unsteady=True))
    assert not node.want(B_FIRST).claims


# -- without heartbeats

UNHEARD = Standing(heard=False)


def test_among_nodes_that_are_known_by_their_leases_alone_the_hash_says_who_owns():
    node = OneNode("a")
    node.live(b=UNHEARD, c=UNHEARD)
    decision = node.want(A_FIRST, B_FIRST)
    assert list(decision.claims) == [A_FIRST]
    assert node.ownership.owner(B_FIRST) == "b"
    assert not node.after(60).yielding


def test_when_a_node_dies_whose_lease_alone_was_seen_its_address_is_taken_over_without_probing():
    node = OneNode("a")
    node.live(b=UNHEARD, c=UNHEARD)
    node.want(B_FIRST)
    node.live(c=UNHEARD)
    decision = node.decide()
    assert list(decision.claims) == [B_FIRST]
    assert not decision.probe


def test_an_address_is_yielded_to_a_node_that_cannot_say_that_it_has_it():
    node = OneNode("a", peers=())
    node.want(B_FIRST)
    node.live(b=UNHEARD)
    assert node.after(2.0).yielding == {B_FIRST: "b"}
    assert node.after(1.0).yielding == {}


def test_nothing_is_yielded_to_a_node_that_is_not_heard_yet_because_it_starts():
    node = OneNode("a", peers=())
    node.want(B_FIRST)
    node.live(b=UNHEARD)
    assert not node.after(1.9).yielding
    node.live("b")
    assert node.after(60).claims == {B_FIRST: Claim(1)}


def test_when_heartbeats_are_heard_at_last_the_owner_stays():
    node = OneNode("a")
    node.live(b=UNHEARD, c=UNHEARD)
    node.want(A_FIRST, B_FIRST)
    node.live("b", "c")
    node.hears("b", B_FIRST)
    assert list(node.after(60).claims) == [A_FIRST]
    assert node.ownership.owner(B_FIRST) == "b"


# -- fence and damping


def test_a_fenced_node_goes_on_with_what_nobody_else_has_claimed():
    node = OneNode("a", peers=("b",))
    kept = address_preferring("a", "b", "c", number=1)
    node.want(A_FIRST, kept)
    node.ownership.fenced(node.now)
    decision = node.hears("b", A_FIRST, epoch=2, strong=False)
    assert decision.unsteady
    assert decision.claims == {kept: Claim(1, strong=False)}
    assert decision.yielding == {A_FIRST: "b"}
    assert node.after(1.0).claims == {kept: Claim(1)}


def test_a_fenced_node_listens_before_it_takes_over():
    node = OneNode("a", peers=("b",))
    node.hears("b", A_FIRST)
    node.want(A_FIRST)
    node.ownership.fenced(node.now)
    node.live()
    assert not node.after(0.4).claims
    assert node.after(0.2).claims


@pytest.mark.parametrize(("alarms", "seconds"), [(1, 10), (2, 20), (3, 40), (5, 160), (6, 300), (20, 300)])
def test_each_false_alarm_doubles_the_time_for_which_the_node_is_unsteady(alarms, seconds):
    node = OneNode("a")
    for number in range(alarms):
        node.after(5.0 if number else 0.0)
        for _ in range(3):
            node.ownership.fenced(node.now)
    assert node.after(seconds - 0.1).unsteady
    assert not node.after(0.1).unsteady


def test_false_alarms_are_forgotten_after_ten_minutes():
    node = OneNode("a")
    node.ownership.fenced(node.now)
    node.after(601)
    node.ownership.fenced(node.now)
    assert not node.after(10).unsteady


def test_a_node_from_which_another_one_took_over_is_unsteady():
    node = OneNode("a")
    node.want(A_FIRST)
    assert node.hears("b", A_FIRST, epoch=2).unsteady


def test_a_node_that_lost_only_the_draw_is_not_unsteady():
    node = OneNode("a", peers=("c",))
    node.want(B_FIRST)
    node.live("b", "c")
    assert not node.hears("b", B_FIRST).unsteady


# -- the API server is away


def test_a_suspended_node_answers_for_nothing_and_then_goes_on():
    node = OneNode("a")
    node.want(A_FIRST)
    node.ownership.suspend(True)
    decision = node.decide()
    assert not decision.claims
    assert not decision.yielding
    assert decision.changes == (Change(A_FIRST, Reason.API_OUTAGE, "a", None, 1),)
    assert not node.after(60).claims
    node.ownership.suspend(False)
    assert node.decide().claims == {A_FIRST: Claim(2)}


# -- the machine


def test_nothing_new_gives_the_same_decision_without_changes():
    node = OneNode("a")
    node.want(A_FIRST)
    first = node.decide()
    node.live("b", "c")
    node.want(A_FIRST)
    assert node.hears("b") is first
    assert not first.changes


def test_its_own_name_among_the_others_changes_nothing():
    node = OneNode("a")
    node.ownership.set_live({name: Standing() for name in NODES}, True, node.now)
    node.hears("a", B_FIRST)
    node.want(B_FIRST)
    assert node.ownership.owner(B_FIRST) is None


def test_addresses_of_both_families_are_sorted_and_kept_apart():
    node = OneNode("a", peers=())
    addresses = [ip_address(text) for text in ("2001:db8::1", "10.0.0.10", "::1", "10.0.0.9")]
    decision = node.want(*addresses)
    assert [str(a) for a in decision.claims] == ["10.0.0.9", "10.0.0.10", "::1", "2001:db8::1"]


def test_a_claim_outside_its_section_is_ignored():
    node = OneNode("a")
    node.want(A_FIRST, nodes=("b",))
    node.ownership.hear("b", Section(A_FIRST + 1, A_FIRST + 2, ((A_FIRST, Claim(1)),)), node.now)
    node.decide()
    assert node.ownership.owner(A_FIRST) is None
