"""What the Lease shows later than it is so."""

import itertools
from ipaddress import ip_address

from metallb_cli.model import Conflict, Interface, Reason
from metallb_cli.reconcile.shown_notes import MAC_PERIOD, ShownContests, ShownInterfaces

ETH0, ETH1 = Interface("eth0", 2), Interface("eth1", 3)
AWAY = Interface("eth0", 2, verdict=Reason.INTERFACE_NO_CARRIER)
VIP, OTHER = ip_address("10.0.0.1"), ip_address("10.0.0.2")
ONE, TWO, THREE = (bytes([2, 0, 0, 0, 0, n]) for n in (1, 2, 3))


def contest(address, mac, count=1):
    return Conflict(address, mac, count)


class TestInterfaces:
    def test_what_comes_is_shown_at_once(self):
        shown = ShownInterfaces(0.3)
        assert shown.show([ETH0], 0.0) == (ETH0,)
        assert shown.show([ETH0, ETH1], 0.0) == (ETH0, ETH1)
        assert shown.next_deadline() is None

    def test_one_that_is_back_in_time_was_never_away(self):
        shown = ShownInterfaces(0.3)
        shown.show([ETH0], 0.0)
        assert shown.show([AWAY], 1.0) == (ETH0,)
        assert shown.next_deadline() == 1.3
        assert shown.show([AWAY], 1.29) == (ETH0,)
        assert shown.show([ETH0], 1.29) == (ETH0,)
        assert shown.next_deadline() is None
        assert shown.show([AWAY], 1.31) == (ETH0,), "each absence counts by itself"

    def test_one_that_stays_away_is_shown_so_when_its_time_is_over(self):
        shown = ShownInterfaces(0.3)
        shown.show([ETH0, ETH1], 0.0)
        shown.show([AWAY, ETH1], 1.0)
        assert shown.show([AWAY, ETH1], 1.3) == (AWAY, ETH1)
        assert shown.next_deadline() is None
        assert shown.show([AWAY], 2.0) == (AWAY, ETH1), "a deleted one is lost as well"
        assert shown.show([AWAY], 2.3) == (AWAY,)


class TestContests:
    def test_a_new_one_and_the_end_of_one_are_shown_at_once(self):
        shown = ShownContests()
        assert shown.show([], 0.0) == ()
        assert shown.show([contest(VIP, ONE)], 0.1) == (contest(VIP, ONE),)
        assert shown.show([contest(VIP, ONE), contest(OTHER, TWO)], 0.2) == (contest(VIP, ONE), contest(OTHER, TWO))
        assert shown.show([contest(OTHER, TWO)], 0.3) == (contest(OTHER, TWO),)
        assert shown.show([contest(VIP, TWO), contest(OTHER, TWO)], 0.4)[0] == contest(VIP, TWO)
        assert shown.next_deadline() is None

    def test_a_host_that_changes_its_mac_address_all_the_time_is_shown_anew_every_ten_seconds(self):
        shown = ShownContests()
        macs = []
        for step in range(600):  # a minute, ten times a second
            mac = bytes([2, 0, 0, 0, *step.to_bytes(2, "big")])
            ((conflict),) = shown.show([contest(VIP, mac, step)], step / 10)
            macs.append(conflict.mac)
        changes = sum(one != other for one, other in itertools.pairwise(macs))
        assert 1 <= changes <= 60 / MAC_PERIOD + 1

    def test_the_last_one_is_shown_in_the_end(self):
        shown = ShownContests()
        shown.show([contest(VIP, ONE)], 0.0)
        assert shown.show([contest(VIP, TWO)], 1.0)[0].mac == TWO
        assert shown.show([contest(VIP, THREE)], 2.0)[0].mac == TWO
        assert shown.next_deadline() == 1.0 + MAC_PERIOD
        assert shown.show([contest(VIP, THREE)], 1.0 + MAC_PERIOD)[0].mac == THREE
        assert shown.next_deadline() is None

    def test_a_new_contest_meanwhile_does_not_show_the_new_mac_address_of_another(self):
        shown = ShownContests()
        shown.show([contest(VIP, ONE)], 0.0)
        shown.show([contest(VIP, TWO)], 1.0)
        shown.show([contest(VIP, THREE)], 2.0)
        assert shown.show([contest(VIP, THREE), contest(OTHER, ONE)], 3.0) == (contest(VIP, TWO), contest(OTHER, ONE))
