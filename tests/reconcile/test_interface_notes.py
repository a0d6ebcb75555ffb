import json
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.model import MAX_NETWORKS, Interface, Reason
from metallb_cli.reconcile.interface_notes import (
    MAX_INTERFACES,
    InterfaceNote,
    Reach,
    decode_interfaces,
    encode_interfaces,
    reach,
)

LAN, LAN6 = ip_network("10.0.0.0/24"), ip_network("2001:db8::/64")


def test_interfaces_are_written_as_json_with_what_can_be_answered_on_them():
    text = encode_interfaces(
        [
            Interface("br0", 2, networks=(LAN, LAN6)),
            Interface("eth0", 3, verdict=Reason.INTERFACE_ENSLAVED, master="br0"),
            Interface("docker0", 4, verdict=Reason.INTERFACE_EXCLUDED, networks=(LAN,)),
        ]
    )
    assert json.loads(text) == [
        {"name": "br0", "verdict": "usable", "networks": ["10.0.0.0/24", "2001:db8::/64"]},
        {"name": "eth0", "verdict": "enslaved", "master": "br0"},
        {"name": "docker0", "verdict": "excludedByName"},
    ]
    assert decode_interfaces(text) == (
        InterfaceNote("br0", "usable", (LAN, LAN6)),
        InterfaceNote("eth0", "enslaved", master="br0"),
        InterfaceNote("docker0", "excludedByName"),
    )


def test_of_an_interface_with_very_many_networks_the_first_are_written():
    networks = tuple(ip_network(f"10.{n}.0.0/16") for n in range(200))
    (note,) = decode_interfaces(encode_interfaces([Interface("eth0", 2, networks=networks)]))
    assert note.networks == networks[:MAX_NETWORKS]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("[]", None),
        ('[{"name": "lo", "verdict": "loopback"}]', Reach(usable=False, networks=())),
        ('[{"name": "eth0", "verdict": "usable"}]', Reach(usable=True, networks=None)),
        ('[{"name": "eth0", "verdict": "usable", "networks": []}]', Reach(usable=True, networks=())),
        (
            '[{"name": "a", "verdict": "usable", "networks": ["2001:db8::/64", "10.0.0.0/24"]},'
            ' {"name": "b", "verdict": "usable", "networks": ["10.0.0.0/24"]},'
            ' {"name": "c", "verdict": "down", "networks": ["10.9.0.0/24"]}]',
            Reach(usable=True, networks=(LAN, LAN6)),
        ),
        (
            '[{"name": "a", "verdict": "usable", "networks": ["10.0.0.0/24"]}, {"name": "b", "verdict": "usable"}]',
            Reach(usable=True, networks=None),
        ),
    ],
)
def test_what_can_be_reached_is_what_the_usable_interfaces_have_together(text, expected):
    assert reach(decode_interfaces(text)) == expected


@given(
    st.lists(
        st.builds(
            Interface,
            st.text("abc0", min_size=1, max_size=5),
            st.integers(1, 99),
            verdict=st.sampled_from([Reason.USABLE, Reason.INTERFACE_DOWN]),
            networks=st.lists(st.sampled_from([LAN, LAN6]), unique=True).map(tuple),
        ),
        max_size=5,
    )
)
def test_others_read_of_a_node_what_it_knows_of_itself(interfaces):
    assert reach(decode_interfaces(encode_interfaces(interfaces))) == reach(interfaces)


def test_very_many_interfaces_are_cut_to_a_note_that_can_be_read():
    text = encode_interfaces(Interface(f"veth{n:08}", n) for n in range(10_000))
    assert len(text) <= MAX_INTERFACES
    assert len(decode_interfaces(text)) > 300


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("", ()),
        ("{}", ()),
        ("[1, null, {}, {\"name\": 1, \"verdict\": \"x\"}, {\"name\": \"eth0\"}]", ()),
        ('[{"name": "eth0", "verdict": "brandNew", "more": 1}]', (InterfaceNote("eth0", "brandNew"),)),
        ('[{"name": "e", "verdict": "usable", "networks": 4, "master": 5}]', (InterfaceNote("e", "usable"),)),
        (
            '[{"name": "e", "verdict": "usable", "networks": [1, null, "x", "10.0.0.1/24", "10.0.0.0/24"]}]',
            (InterfaceNote("e", "usable", (LAN,)),),
        ),
        ("[" * 19_000, ()),
        ("[1" * 30_000, ()),
    ],
)  # fmt: skip
def test_interfaces_that_cannot_be_understood_are_left_out(text, notes):
    assert decode_interfaces(text) == notes


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["name", "verdict", "networks", "master"]), inner, max_size=3),
    ),
    max_leaves=10,
)


@given(st.one_of(st.text(), json_values.map(json.dumps)))
def test_no_text_makes_reading_interfaces_fail(text):
    notes = decode_interfaces(text)
    assert all(isinstance(note, InterfaceNote) for note in notes)
    assert (reach(notes) is None) == (not notes)
