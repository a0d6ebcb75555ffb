from ipaddress import ip_address

import pytest

from metallb_cli.config import BgpPeer, Code, NodeSelector, parse
from tests.config.marked import peer, problems_of


def peer_of(*lines, **changes):
    parsed = parse(peer(*lines, **changes))
    assert parsed.config is not None, parsed.problems
    return parsed.config.peers[0]


def test_a_peer_has_metallbs_defaults():
    assert peer_of() == BgpPeer(
        my_asn=64512,
        peer_asn=64513,
        address=ip_address("10.0.0.1"),
        port=179,
        hold_time=90,
        router_id=None,
        node_selectors=(),
    )


def test_a_peer_of_0_12_is_read_whole():
    profiles = "bfd-profiles: [{name: fast, receive-interval: 50}]\n"
    parsed = parse(
        profiles
        + peer(
            "name: tor",
            "peer-port: 1179",
            "source-address: fc00::9",
            "hold-time: 1m30s",
            "keepalive-time: 30s",
            "router-id: 10.0.0.9",
            "node-selectors: [match-labels: {rack: a}]",
            "password: 1234",
            "bfd-profile: fast",
            "ebgp-multihop: true",
            peer_address="fc00::1",
        )
    )
    assert parsed.config is not None, parsed.problems
    assert parsed.config.peers == (
        BgpPeer(
            my_asn=64512,
            peer_asn=64513,
            address=ip_address("fc00::1"),
            name="tor",
            port=1179,
            source_address=ip_address("fc00::9"),
            hold_time=90,
            keepalive_time=30,
            router_id=ip_address("10.0.0.9"),
            node_selectors=(NodeSelector(labels=(("rack", "a"),)),),
            password="1234",
            bfd_profile="fast",
            ebgp_multihop=True,
        ),
    )


def test_port_zero_is_the_default_port():
    assert peer_of("peer-port: 0").port == 179


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("''", 90), ("~", 90), ("0s", 0), ("'0'", 0), ("0", 0), ("3s", 3), ("3999ms", 3), ("999ms", 0), ("65535s", 65535)],
)
def test_a_hold_time_is_cut_to_whole_seconds(text, seconds):
    assert peer_of(f"hold-time: {text}").hold_time == seconds


def test_a_keepalive_time_may_equal_the_hold_time():
    assert peer_of("hold-time: 9s", "keepalive-time: 9s").keepalive_time == 9


def test_all_mistakes_of_a_peer_are_reported_together():
    text = "peers:\n- hold-time: 1s\n  peer-port: x\n  router-id: y\n"
    assert {p.code for p in problems_of(text)} >= {
        Code.PEER_MY_ASN_MISSING,
        Code.PEER_ASN_MISSING,
        Code.PEER_ADDRESS_INVALID,
        Code.PEER_HOLD_TIME_INVALID,
        Code.WRONG_TYPE,
        Code.PEER_ROUTER_ID_INVALID,
    }


def test_peers_are_numbered_from_one_as_in_metallb():
    text = peer().split("address-pools")[0] + "- my-asn: 1\n  peer-asn: 1\n  peer-address: x\n"
    assert [p.message for p in problems_of(text, Code.PEER_ADDRESS_INVALID)] == ['peer #2: invalid peer IP "x"']


def test_only_one_warning_says_that_peers_have_no_effect_yet():
    text = (
        "peers:\n"
        + "- {my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1}\n- {my-asn: 1, peer-asn: 2, peer-address: 10.0.0.2}"
    )
    assert len(problems_of(text, Code.BGP_NOT_ANNOUNCED)) == 1
    assert len(parse(text).config.peers) == 2


def test_no_peers_no_warning():
    assert problems_of("peers: []", Code.BGP_NOT_ANNOUNCED) == []


@pytest.mark.parametrize(
    "lines",
    [
        ("password: hunter2",),
        ("password: [hunter2]",),
        ("password: {hunter2: hunter2}",),
        ("password: *hunter2",),
        ("password: &hunter2 x",),
        ("password: !hunter2 x",),
        ("password: !hunter2!x y",),
        ("password: hunter2", "password: hunter2"),
        ("password: @hunter2",),
        ("password: 'hunter2",),
        ("password: hunter2: x",),
        ("password: |", "  hunter2", " hunter2"),
        ("pasword: hunter2",),
    ],
)
def test_no_message_and_no_repr_shows_a_password(lines):
    parsed = parse(peer(*lines))
    assert "hunter2" not in repr(parsed)
    assert "hunter2" not in repr(parse("peers: |\n  - password: hunter2\n"))
    assert parsed.problems
