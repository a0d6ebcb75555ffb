"""Which claim is better, and what a section replaces."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.election.claims import MAX_EPOCH, beats, best, epoch_after
from metallb_cli.election.heard import Heard, sort_key
from metallb_cli.election.order import elect
from metallb_cli.model import Claim, Section

ADDRESS = ip_address("192.0.2.1")
claims = st.builds(Claim, st.integers(0, 4), st.booleans(), st.booleans())
said = st.dictionaries(st.sampled_from("abcdef"), claims)


@given(said)
def test_the_best_claim_beats_every_other_one(said):
    found = best(ADDRESS, said.items())
    assert (found is None) == (not said)
    if found:
        node, claim = found
        assert all(beats(ADDRESS, node, claim, other, said[other]) for other in said if other != node)
        assert not any(beats(ADDRESS, other, said[other], node, claim) for other in said if other != node)


def test_strength_counts_more_than_the_epoch_and_that_more_than_the_hash():
    first = elect(ADDRESS, "ab")
    second = "b" if first == "a" else "a"
    assert beats(ADDRESS, second, Claim(1, True), first, Claim(9, False))
    assert beats(ADDRESS, second, Claim(2), first, Claim(1))
    assert beats(ADDRESS, first, Claim(2), second, Claim(2, contested=True))


def test_epochs_grow_by_one_and_end():
    assert epoch_after(0) == 1
    assert epoch_after(MAX_EPOCH) == MAX_EPOCH


def test_addresses_are_sorted_by_family_and_value():
    texts = ["::2", "10.0.0.10", "::1", "10.0.0.9"]
    assert sorted(map(ip_address, texts), key=sort_key) == [
        ip_address(text) for text in ("10.0.0.9", "10.0.0.10", "::1", "::2")
    ]


some_addresses = st.integers(0, 20).map(lambda n: ip_address("10.0.0.0") + n) | st.integers(0, 9).map(
    lambda n: ip_address("::") + n
)
same_family = st.tuples(some_addresses, some_addresses).filter(lambda pair: pair[0].version == pair[1].version)
sections = st.builds(
    lambda ends, said: Section(*sorted(ends), tuple(said.items())),
    same_family,
    st.dictionaries(some_addresses, claims, max_size=5),
)


@given(st.lists(st.tuples(st.sampled_from("ab"), sections | st.none()), max_size=20))
def test_heard_is_what_a_naive_model_remembers(history):
    heard, model = Heard(), {}
    for node, section in history:
        before = dict(model)
        if section is None:
            for key in [key for key in model if key[0] == node]:
                del model[key]
            changed = heard.forget(node)
        else:
            ends = sort_key(section.first), sort_key(section.last)
            for key in [key for key in model if key[0] == node and ends[0] <= sort_key(key[1]) <= ends[1]]:
                del model[key]
            for address, claim in section.claims:
                if ends[0] <= sort_key(address) <= ends[1]:
                    model[node, address] = claim
            changed = heard.take(node, section)
        assert set(changed) == {
            key[1] for key in before.keys() | model.keys() if key[0] == node and before.get(key) != model.get(key)
        }
        for who in "ab":
            assert list(heard.claimed_by(who)) == sorted((a for n, a in model if n == who), key=sort_key)
    for address in {address for _, address in model}:
        assert heard.claims(address) == {node: claim for (node, a), claim in model.items() if a == address}
