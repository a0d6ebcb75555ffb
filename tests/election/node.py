"""One node's Ownership with short ways to say what happens to it. Times are seconds."""

from ipaddress import ip_address

from metallb_cli.election import Mode, Ownership, Standing, Wish, ranking
from metallb_cli.model import Claim, Section

EVERYTHING = {
    4: (ip_address("0.0.0.0"), ip_address("255.255.255.255")),
    6: (ip_address("::"), ip_address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
}

NODES = ("a", "b", "c")


def address_preferring(*order, number=0):
    """The address for which the hash puts these nodes into this order; `number` tells several apart."""
    found = (at for n in range(1 << 16) if ranking(at := ip_address("10.0.0.0") + n, order) == order)
    for _ in range(number):
        next(found)
    return next(found)


class OneNode:
    """A node that started at 0. Its clock stands at 10, so that it is settled, steady and strong, unless `start`."""

    def __init__(self, me="a", peers=("b", "c"), *, mode=Mode.STICKY, quorum=True, start=False):
        self.me = me
        self.now = 0.0
        self.ownership = Ownership(me, self.now, mode)
        self.claimed = {}
        self.changes = []
        self.live(*peers, quorum=quorum)
        self.decide()
        if not start:
            self.until(10.0)

    def live(self, *peers, quorum=True, **standings):
        """These peers are alive; a keyword gives one its flags."""
        self.ownership.set_live(dict.fromkeys(peers, Standing()) | standings, quorum, self.now)

    def want(self, *addresses, nodes=NODES, move_to=None, move_epoch=0):
        wish = Wish(frozenset(nodes), move_to, move_epoch)
        for address in addresses:
            self.ownership.want(address, wish)
        return self.decide()

    def hears(self, node, *addresses, epoch=1, strong=True, contested=False):
        """The node claims these addresses, beside those that it claimed before."""
        claims = self.claimed.setdefault(node, {})
        claims.update(dict.fromkeys(addresses, Claim(epoch, strong, contested)))
        return self._say(node)

    def hears_withdrawn(self, node, *addresses):
        for address in addresses:
            del self.claimed[node][address]
        return self._say(node)

    def _say(self, node):
        for version, (first, last) in EVERYTHING.items():
            claims = {a: c for a, c in self.claimed[node].items() if a.version == version}
            self.ownership.hear(node, Section(first, last, tuple(sorted(claims.items()))), self.now)
        return self.decide()

    def decide(self):
        decision = self.ownership.decide(self.now)
        self.changes += decision.changes
        return decision

    def until(self, moment):
        """Let time pass, deciding whenever it was asked for."""
        for _ in range(10_000):
            deadline = self.ownership.next_deadline()
            if deadline is None or deadline > moment:
                break
            assert deadline >= self.now, "a deadline that has passed is asked for again"
            self.now = deadline
            self.decide()
        else:
            raise AssertionError("decides without end")
        self.now = max(self.now, moment)
        return self.decide()

    def after(self, seconds):
        return self.until(self.now + seconds)

    @property
    def reasons(self):
        return [change.reason for change in self.changes]
