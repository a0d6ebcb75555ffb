import io
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from metallb_cli.model import Claim, Endpoints, Interface, Lease, Node, Reason, Service, ServiceKey
from metallb_cli.reconcile.audit import ConfigurationState, ObservedLease, Snapshot, audit
from metallb_cli.reconcile.interface_notes import encode_interfaces
from metallb_cli.reconcile.lease_notes import SpeakerNote, encode_addresses, encode_claims, encode_peers, encode_speaker
from metallb_cli.view.status import age, show_status
from tests.allocator.build import pool

POOL = pool("vlan50", "172.30.1.96-172.30.1.111")


def service(name, *addresses, **fields):
    return Service(
        ServiceKey("metal-test", name),
        uid=name,
        ingress=tuple(map(ip_address, addresses)),
        allocated_pool="vlan50" if addresses else None,
        created=1000.0,
        **fields,
    )


def speaker(node, seconds, *addresses):
    interfaces = (
        Interface("eth0", 2, networks=(ip_network("172.30.1.0/24"),)),
        Interface("docker0", 3, verdict=Reason.INTERFACE_EXCLUDED),
    )
    notes = (
        ("metallb.io/announcing", encode_addresses([ip_address(a) for a in addresses])),
        ("metallb.io/interfaces", encode_interfaces(interfaces)),
    )
    return ObservedLease(Lease(f"speaker-{node}", "x", "t", 6.0, annotations=notes), seconds)


SNAPSHOT = Snapshot(
    namespace="metal-system",
    now=2000.0,
    configuration=ConfigurationState((POOL,)),
    services=(service("nginx", "172.30.1.96"), service("api", "172.30.1.97"), service("db", requested=("10.0.0.1",))),
    endpoints={ServiceKey("metal-test", name): Endpoints(frozenset({"node1"})) for name in ("nginx", "api")},
    nodes={name: Node(name) for name in ("node1", "node2", "node3")},
    speakers=(speaker("node1", 1.0), speaker("node2", 1.2, "172.30.1.97"), speaker("node3", 25.0, "172.30.1.96")),
    controller=ObservedLease(Lease("metallb-controller", "c", "t", 15.0), 2.0),
)

EXPECTED = """\
MetalLB in metal-system: problems (3), configuration loaded, controller live

Pools
NAME    PROTOCOL  ADDRESSES                 SIZE  USED  FREE
────────────────────────────────────────────────────────────
vlan50  layer2    172.30.1.96-172.30.1.111    16     2    14

Services
SERVICE           ADDRESS      POOL    OWNER  STATE             AGE
───────────────────────────────────────────────────────────────────
metal-test/api    172.30.1.97  vlan50  node2  announced         16m
metal-test/db     <pending>    -       -      AddressNotInPool  16m
metal-test/nginx  172.30.1.96  vlan50  node1  OwnerNotHolding   16m

Speakers
NODE   STATE  LEASE  PEERS  ADDRESSES  INTERFACES
────────────────────────────────────────────────────────────
node1  live      1s      -          0  eth0 (+1 skipped)
node2  live      1s      -          1  eth0 (+1 skipped)
node3  dead     25s      -          1  eth0 (+1 skipped)

Problems
"""


def shown(snapshot, width=80, **options):
    out = io.StringIO()
    show_status(audit(snapshot), out, width=width, **options)
    return out.getvalue()


def plain(text):
    return [line.rstrip() for line in text.splitlines()]


def test_the_tables_fit_80_columns_and_read_without_colour():
    text = shown(SNAPSHOT)
    top = "\n".join(plain(text)).split("Problems\n")[0]
    # The rule below a header may be as long as its table, which ends in spaces.
    assert [line.rstrip("─") or "─" for line in plain(top)] == [
        line.rstrip("─") or "─" for line in plain(EXPECTED.split("Problems\n")[0])
    ]
    assert "\x1b" not in text


def test_every_problem_says_what_it_is_about_and_what_to_do():
    text = " ".join(shown(SNAPSHOT).split("Problems\n")[1].split())
    assert "1. metal-test/nginx: OwnerNotHolding" in text
    assert "2. metal-test/db: AddressNotInPool" in text
    assert "ask for another address, or add it to a pool" in text
    assert "3. node3: NoSpeaker" in text


@pytest.mark.parametrize("wide", [False, True])
def test_no_line_is_longer_than_the_terminal(wide):
    long = replace(
        SNAPSHOT,
        services=tuple(
            replace(s, key=ServiceKey("a-rather-long-namespace", f"{s.key.name}-with-quite-a-long-name-as-well"))
            for s in SNAPSHOT.services
        ),
    )
    lines = shown(long, wide=wide).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("AddressNotInPool" in line for line in lines)


def test_wide_adds_candidates_skipped_interfaces_and_reasons():
    text = " ".join(shown(SNAPSHOT, width=120, wide=True).split())
    assert "node1, node2" in text
    assert "eth0: answering on 172.30.1.0/24 docker0: excluded by its name (--exclude)" in text
    assert "not on node3: NoSpeaker" in text


def test_a_node_without_usable_interface_has_each_explained_and_others_have_not():
    lost = speaker("node4", 1.0)
    interfaces = (
        Interface("eth0", 2, verdict=Reason.INTERFACE_ENSLAVED, master="br0"),
        Interface("eth1", 3, verdict=Reason.INTERFACE_ENSLAVED, master="br0"),
        Interface("br0", 4, verdict=Reason.INTERFACE_NO_CARRIER),
    )
    notes = (("metallb.io/announcing", ""), ("metallb.io/interfaces", encode_interfaces(interfaces)))
    lost = replace(lost, lease=replace(lost.lease, annotations=notes))
    text = shown(replace(SNAPSHOT, speakers=(*SNAPSHOT.speakers, lost)))
    section = text.split("Interfaces\n")[1].split("Problems\n")[0]
    assert plain(section.rstrip()) == [
        "  node4",
        "    eth0, eth1: port of br0, which answers in its place",
        "    br0: no carrier: look at cable and switch",
    ]
    assert "none usable (+3 skipped)" in text
    assert max(map(len, text.splitlines())) <= 80


def test_an_empty_cluster_says_what_is_missing():
    empty = Snapshot("metal-system", 0.0, ConfigurationState(None, found=False))
    text = shown(empty)
    assert "configuration missing" in text
    assert "no speaker has ever run in this namespace" in text
    assert "ConfigMissing" in text


def test_an_ipv6_pool_has_a_size_that_people_can_read():
    text = shown(
        replace(SNAPSHOT, configuration=ConfigurationState((pool("v6", "2001:db8::-2001:db8::ffff:ffff:ffff:ffff"),)))
    )
    assert "~2^64" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (172800, "2d"), (-5, "0s")],
)
def test_ages_are_written_as_kubectl_does(seconds, text):
    assert age(seconds) == text


def test_of_very_many_problems_the_gravest_are_shown_and_the_rest_is_counted():
    many = replace(SNAPSHOT, services=tuple(service(f"s{n}", requested=("10.0.0.1",)) for n in range(50)))
    text = shown(many)
    total = len(audit(many).problems)
    assert f"... and {total - 20} more: see all with -o wide" in text
    assert f"{total}. " in shown(many, wide=True)


# -- ownership

NOTE = SpeakerNote(boot=int(1000e9), election="sticky", api_outage="freeze", interval=0.1, misses=3, renew=2.0)


def telling(node, claims=(), *, announces=True, peers=("node8", "node9"), **note):
    """A live speaker that says how it runs, and what it claims."""
    claims = {ip_address(address): claim for address, claim in dict(claims).items()}
    observed = speaker(node, 1.0, *(map(str, claims) if announces else ()))
    notes = (
        *observed.lease.annotations,
        ("metallb.io/claims", encode_claims(claims)),
        ("metallb.io/speaker", encode_speaker(replace(NOTE, **note))),
        ("metallb.io/peers", encode_peers(peers)),
    )
    return replace(observed, lease=replace(observed.lease, annotations=notes))


def telling_cluster(*speakers):
    return replace(SNAPSHOT, services=(SNAPSHOT.services[0],), speakers=speakers)


def rows_of(text, title):
    return [" ".join(line.split()) for line in text.split(f"{title}\n")[1].split("\n\n")[0].splitlines()[2:]]


def test_who_hears_whom_and_the_settings_of_all_stand_below_each_other():
    owner = telling("node1", {"172.30.1.96": Claim(7)})
    text = shown(telling_cluster(owner, telling("node2"), telling("node3")))
    assert text.startswith("MetalLB in metal-system: healthy")
    assert rows_of(text, "Speakers") == [
        "node1 live 1s 2/2 1 eth0 (+1 skipped)",
        "node2 live 1s 2/2 0 eth0 (+1 skipped)",
        "node3 live 1s 2/2 0 eth0 (+1 skipped)",
        "Ownership: sticky, dead after 300 ms of silence, Leases 6 s, API outage: freeze",
    ]
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("note", "line"),
    [
        (
            {"interval": 0.5, "api_outage": "withdraw", "election": "metallb"},
            "Ownership: metallb, dead after 1.5 s of silence, Leases 6 s, API outage: withdraw",
        ),
        ({"interval": 0.0}, "Ownership: sticky, no heartbeats, Leases 6 s, API outage: freeze"),
    ],
)
def test_the_settings_are_those_that_the_speakers_run_with(note, line):
    text = " ".join(shown(telling_cluster(*(telling(n, **note) for n in ("node1", "node2")))).split())
    assert line in text


def test_settings_that_differ_are_told_as_a_problem_instead():
    text = shown(telling_cluster(telling("node1"), telling("node2", api_outage="withdraw")))
    assert "Ownership:" not in text
    assert "speakers: SettingsDiffer" in text


@pytest.mark.parametrize(
    ("note", "draining", "state"),
    [
        ({}, False, "live"),
        ({"unsteady": True}, False, "unsteady"),
        ({"unsteady": True, "leaving": True}, False, "leaving"),
        ({"leaving": True}, True, "draining"),
        ({"fenced": True, "leaving": True}, True, "fenced"),
    ],
)
def test_the_state_of_a_live_speaker_is_the_most_remarkable_one(note, draining, state):
    snapshot = telling_cluster(telling("node1", **note), telling("node2"))
    nodes = {**snapshot.nodes, "node1": Node("node1", draining=draining)}
    assert rows_of(shown(replace(snapshot, nodes=nodes)), "Speakers")[0].split()[:2] == ["node1", state]


def test_wide_shows_the_settings_of_each_speaker_and_the_claim_of_each_owner():
    owner = telling("node1", {"172.30.1.96": Claim(7, strong=False)})
    dead = replace(telling("node3"), age=60.0)
    text = shown(telling_cluster(owner, telling("node2", interval=0.0), speaker("node3", 60.0)), wide=True)
    assert rows_of(text, "Settings") == [
        "node1 100 ms × 3 6 s, renewed every 2 s sticky freeze 16m",
        "node2 - 6 s, renewed every 2 s sticky freeze 16m",
        "node3 - 6 s - - -",
    ]
    assert rows_of(shown(telling_cluster(dead), wide=True), "Settings")[0].endswith("sticky freeze -")
    assert "claimed by node1 with epoch 7, weak" in text


def test_a_contested_address_shows_who_has_it():
    mac = "02:00:00:00:00:07"
    claim = {"172.30.1.96": Claim(4, contested=True)}
    text = shown(
        telling_cluster(telling("node1", claim, announces=False, contested=(f"172.30.1.96 {mac}",)), telling("node2"))
    )
    row = next(line.split() for line in text.splitlines() if line.startswith("metal-test/nginx"))
    assert row == ["metal-test/nginx", "172.30.1.96", "vlan50", "node1", "AddressConflict", "16m"]
    assert f"the machine with MAC address {mac} has 172.30.1.96 already; take it off" in " ".join(text.split())
