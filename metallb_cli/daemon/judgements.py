"""What is known of every Service: which nodes may answer for its addresses, and what its operator wishes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from metallb_cli.daemon.ports import ServiceStore
from metallb_cli.election import Wish
from metallb_cli.model import IPAddress, Service, ServiceKey
from metallb_cli.reconcile.announce import ClusterState, Verdict, judge


class Judgements:
    """The verdicts about all Services in one state of the cluster.

    Args:
        services: the watched Services.
        lb_class: judge only those of this `loadBalancerClass`; None means those without one.

    Attributes:
        services_of: which Services have an address.
    """

    def __init__(self, services: ServiceStore, lb_class: str | None) -> None:
        self.services_of: defaultdict[IPAddress, set[ServiceKey]] = defaultdict(set)
        self._services = services
        self._lb_class = lb_class
        self._state: ClusterState | None = None
        self._verdicts: dict[ServiceKey, tuple[Verdict, ...]] = {}

    @property
    def state(self) -> ClusterState | None:
        """What Services are judged by; None until there is anything."""
        return self._state

    def follow(self, state: ClusterState) -> set[ServiceKey]:
        """Judge by this state from now on. Returns the Services that have to be judged again."""
        if state == self._state:
            return set()
        self._state = state
        return {service.key for service in self._services.all()} | self._verdicts.keys()

    def judge(
        self, keys: Iterable[ServiceKey]
    ) -> Iterator[tuple[ServiceKey, tuple[Verdict, ...], tuple[Verdict, ...]]]:
        """Judge these Services. Yields each with its verdicts as they were and as they are."""
        if self._state is None:
            return
        for key in sorted(keys):
            service = self._services.get(key)
            before = self._verdicts.pop(key, ())
            after = judge(service, self._state) if service is not None and self._ours(service) else ()
            if after:
                self._verdicts[key] = after
            addresses = {verdict.address for verdict in after}
            for address in {verdict.address for verdict in before} - addresses:
                self.services_of[address].discard(key)
                if not self.services_of[address]:
                    del self.services_of[address]
            for address in addresses:
                self.services_of[address].add(key)
            yield key, before, after

    def _ours(self, service: Service) -> bool:
        return service.is_load_balancer and service.load_balancer_class == self._lb_class

    def wish(self, address: IPAddress) -> Wish | None:
        """What the Services that have the address say about it; None when it may be announced for none of them.

        The first of them says where it may be, and the newest request to move counts, whichever Service has it.
        """
        keys = sorted(self.services_of.get(address, ()))
        verdicts = (verdict for key in keys for verdict in self._verdicts.get(key, ()))
        candidates = next((v.candidates for v in verdicts if v.address == address and v.candidates), None)
        if candidates is None:
            return None
        moves = [(s.move_epoch, s.move_to) for s in map(self._services.get, keys) if s is not None and s.move_to]
        epoch, node = max(moves, default=(0, None))
        return Wish(candidates, node, epoch)
