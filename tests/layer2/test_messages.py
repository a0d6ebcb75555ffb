"""What the control process makes of the reports of the link process."""

from ipaddress import IPv4Address

from metallb_cli.layer2.messages import LinkReport, fold
from metallb_cli.model import AddressCounters, Conflict, Interface, LinkState, Reason


class TestFold:
    ONE, TWO = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
    BOTH = (ONE, TWO)

    def test_counts_add_up_to_totals(self):
        state = LinkState(announced=self.BOTH)
        for _ in range(3):
            state = fold(state, LinkReport(counts={self.ONE: AddressCounters(1, 2, 3)}), self.BOTH)
        assert state.counters == {self.ONE: AddressCounters(3, 6, 9)}

    def test_a_withdrawn_address_keeps_its_counters_in_the_state_that_withdraws_it_and_no_longer(self):
        counted = {self.ONE: AddressCounters(1, 1, 0), self.TWO: AddressCounters(1, 1, 0)}
        state = fold(LinkState(), LinkReport(1, counts=counted), self.BOTH)
        state = fold(state, LinkReport(2, counts={self.ONE: AddressCounters(1, 1, 0)}), (self.TWO,))
        assert state.announced == (self.TWO,)
        assert state.counters[self.ONE] == AddressCounters(2, 2, 0)
        state = fold(state, LinkReport(3), ())
        assert self.ONE not in state.counters

    def test_everything_else_is_as_last_reported(self):
        interface = Interface("eth0", 2, bytes(6), Reason.INTERFACE_DOWN)
        conflict = Conflict(self.ONE, bytes(6), 1)
        report = LinkReport(4, (interface,), drops={"Error": 1}, last_error="no", conflicts=(conflict,))
        state = fold(LinkState(last_error="old", drops={"ARPReply": 9}), report, self.BOTH)
        assert (state.generation, state.interfaces, state.conflicts) == (4, (interface,), (conflict,))
        assert (state.drops, state.last_error, state.announced) == ({"Error": 1}, "no", self.BOTH)

    def test_the_state_before_is_not_changed(self):
        before = LinkState(announced=self.BOTH, counters={self.ONE: AddressCounters(1, 1, 1)})
        fold(before, LinkReport(1, counts={self.ONE: AddressCounters(1, 1, 1)}), self.BOTH)
        assert before.counters == {self.ONE: AddressCounters(1, 1, 1)}
