import io
from dataclasses import replace
from datetime import UTC, timedelta, timezone
from ipaddress import ip_address

from metallb_cli.model import AddressRange, Reason
from metallb_cli.reconcile.history import Entry, Stages
from metallb_cli.view.history import show_history


def runs(*texts):
    ends = [text.partition("-")[::2] for text in texts]
    return tuple(AddressRange(ip_address(first), ip_address(last or first)) for first, last in ends)


def entry(time, reason, before, after, *texts, **fields):
    return Entry(time, after or before, runs(*texts), reason.value, before, after, 1, **fields)


ENTRIES = [
    entry(1764077604.1234, Reason.CLAIMED, None, "node3", "172.30.1.96-172.30.1.99"),
    entry(1764078004.5, Reason.OWNER_DIED, "node3", "node1", "172.30.1.96", stages=Stages(0.3, 0.0012, 0.0088)),
    entry(1764079000.0, Reason.MOVE_REQUESTED, "node1", "node2", "172.30.1.96", stages=Stages(None, 0.001, 0.01)),
    entry(1764079100.25, Reason.ADDRESS_CONFLICT, "node2", None, "2001:db8::1:96", "172.30.1.96"),
]

EXPECTED = """\
TIME                     ADDRESS                  FROM   TO     REASON             GAP
──────────────────────────────────────────────────────────────────────────────────────
2025-11-25 13:33:24.123  172.30.1.96-172.30.1.99  -      node3  Claimed              -
2025-11-25 13:40:04.500  172.30.1.96              node3  node1  OwnerDied        0.31s
2025-11-25 13:56:40.000  172.30.1.96              node1  node2  MoveRequested        -
2025-11-25 13:58:20.250  2001:db8::1:96           node2  -      AddressConflict      -
                         172.30.1.96
"""


def shown(entries, width=80, zone=UTC, **options):
    out = io.StringIO()
    show_history(entries, out, namespace="metal-system", width=width, zone=zone, **options)
    return out.getvalue()


def plain(text):
    return [line.rstrip() for line in text.splitlines()]


def test_every_change_says_when_what_from_where_to_where_why_and_for_how_long():
    text = shown(ENTRIES, width=100)
    assert plain(text) == plain(EXPECTED)
    assert "\x1b" not in text


def test_the_table_fits_80_columns_and_breaks_neither_times_nor_reasons():
    long = [
        replace(each, before="worker-1.rack-7.example.net", after="worker-22.rack-9.example.net", reason=reason.value)
        for each, reason in zip(ENTRIES, (Reason.OWNER_NOT_ELIGIBLE, *[Reason.OWNER_DIED] * 3), strict=True)
    ]
    for entries in (ENTRIES, long):
        text = shown(entries)
        assert max(map(len, text.splitlines())) <= 80
        for each in entries:
            assert each.reason in text
        assert "2025-11-25 13:33:24.123" in text
    assert "  172.30.1.96-  " in shown(ENTRIES)
    assert "  172.30.1.99  " in shown(ENTRIES)


def test_many_addresses_are_counted():
    many = entry(0.0, Reason.OWNER_DIED, "a", "b", *(f"10.0.0.{2 * n}" for n in range(20)))
    assert "and 16 more" in shown([many])
    assert "and 16 more at least" in shown([replace(many, complete=False)])
    assert "and others" in shown([replace(many, addresses=many.addresses[:2], complete=False)])


def test_times_are_those_of_the_zone():
    assert "2025-11-25 15:33:24.123" in shown(ENTRIES, zone=timezone(timedelta(hours=2)))


def test_what_is_left_out_is_counted():
    assert "7 older, not shown" in shown(ENTRIES, older=7)


def test_an_empty_history_says_what_that_means():
    assert "no speaker has run there yet" in " ".join(shown([], nodes=0).split())
    assert "Nothing changed hands in that time; 3 older" in shown([], older=3)
