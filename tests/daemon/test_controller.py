import threading
import time

import pytest

from metallb_cli.daemon.controller import Controller, Options
from metallb_cli.reconcile.service import Stranded
from tests.support.memory_cluster import DONE_UNANSWERED, UNANSWERED, MemoryCluster
from tests.support.roles import until

CONFIG = "address-pools: [{name: default, protocol: layer2, addresses: [10.0.0.1-10.0.0.4]}]"


@pytest.fixture
def cluster():
    return MemoryCluster(CONFIG)


class Office:
    """A controller in a thread, and the switch that makes it lead."""

    def __init__(self, cluster, **options):
        self.lead = True
        self.controller = Controller(
            open_feeds=cluster.open,
            writer=cluster,
            events=cluster,
            metrics=cluster,
            leading=lambda: self.lead,
            options=Options(**options),
        )
        self.error = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            self.controller.run()
        except BaseException as error:
            self.error = error

    def settle(self):
        until(lambda: self.controller.working and not len(self.controller._inbox), 5, what="an idle controller")
        time.sleep(0.05)
        assert self.error is None


@pytest.fixture
def office(cluster):
    offices = []

    def open_office(**options):
        offices.append(Office(cluster, **options))
        return offices[-1]

    yield open_office
    for each in offices:
        each.controller.stop()
        each.thread.join(5)
        assert each.error is None
        assert not each.thread.is_alive()


def holds(cluster, **wanted):
    return lambda: {name: cluster.addresses(name) for name in wanted} == wanted


def test_everything_in_use_is_adopted_before_a_new_service_is_served(cluster, office):
    cluster.put("a-new")
    cluster.put("z-old", "10.0.0.1", created=1.0)
    office()
    until(holds(cluster, **{"a-new": ["10.0.0.2"], "z-old": ["10.0.0.1"]}), 5)


def test_the_steady_state_writes_nothing(cluster, office):
    cluster.put("a", "10.0.0.1", allocated_pool="default")
    cluster.put("b", "10.0.0.3", allocated_pool="default")
    running = office()
    running.settle()
    cluster.change("a", sharing_key="unrelated")
    running.settle()
    assert cluster.writes == []
    assert cluster.usage == {"default": (4, 2, 0, 0)}
    assert cluster.told == []


def test_a_write_whose_answer_was_lost_is_repeated_and_done_once(cluster, office):
    cluster.faults = [DONE_UNANSWERED]
    cluster.lagging = True
    cluster.put("a")
    cluster.put("b")
    running = office()
    until(holds(cluster, a=["10.0.0.1"], b=["10.0.0.2"]), 5)
    cluster.catch_up()
    running.settle()
    assert sorted(cluster.writes) == [("a", ("10.0.0.1",)), ("b", ("10.0.0.2",))]


def test_while_an_answer_is_missing_nobody_else_gets_the_address(cluster, office):
    cluster.faults = [UNANSWERED] * 3
    cluster.put("a")
    cluster.put("b")
    office()
    until(holds(cluster, a=["10.0.0.1"], b=["10.0.0.2"]), 10)


def test_a_service_that_changed_meanwhile_is_read_again(cluster, office):
    running = office()
    running.settle()
    cluster.lagging = True
    key = cluster.put("a")
    cluster.seen[key] = cluster.truth[key]
    cluster.change("a", requested=("10.0.0.3",))  # the watch has not shown this yet
    cluster.wake(key)
    until(holds(cluster, a=["10.0.0.3"]), 5, what="the requested address")
    assert cluster.writes == [("a", ("10.0.0.3",))]


def test_a_service_deleted_meanwhile_keeps_no_address(cluster, office):
    running = office()
    running.settle()
    cluster.lagging = True
    key = cluster.put("a")
    cluster.seen[key] = cluster.truth[key]
    cluster.delete("a")
    cluster.wake(key)
    running.settle()
    cluster.catch_up()
    cluster.put("b")
    until(holds(cluster, b=["10.0.0.1"]), 5)


def test_a_refused_write_is_tried_again_and_blocks_nobody(cluster, office):
    cluster.faults = [500]
    cluster.put("a")
    cluster.put("b")
    office()
    until(lambda: len(cluster.addresses("a")) == len(cluster.addresses("b")) == 1, 5)
    assert cluster.addresses("a") != cluster.addresses("b")


def test_losing_the_office_in_the_middle_of_a_write_ends_the_term_and_the_next_one_goes_on(cluster, office):
    cluster.faults = [UNANSWERED] * 2
    cluster.put("a")
    running = office()
    until(lambda: len(cluster.faults) < 2, 5)
    running.lead = False
    until(lambda: not running.controller.working, 5)
    cluster.faults = []
    running.lead = True
    until(holds(cluster, a=["10.0.0.1"]), 5)


def test_pending_services_get_freed_addresses_in_the_order_in_which_they_began_to_wait(cluster, office):
    for number in range(1, 5):
        cluster.put(f"s{number}", created=float(number))
    running = office()
    running.settle()
    cluster.put("first", created=5.0)
    running.settle()
    cluster.put("second", created=6.0)
    running.settle()
    assert cluster.reasons == {"IPAllocated": 4, "PoolExhausted": 2}
    cluster.delete("s3")
    until(holds(cluster, first=["10.0.0.3"], second=[]), 5)
    cluster.delete("s1")
    until(holds(cluster, second=["10.0.0.1"]), 5)


def test_a_failure_that_repeats_itself_is_told_once(cluster, office):
    running = office()
    cluster.put("a", requested=("192.0.2.1",))
    running.settle()
    for label in "xyz":
        cluster.change("a", sharing_key=label)
        running.settle()
    assert cluster.told == [("a", "AddressNotInPool")]


def test_a_stranded_address_is_kept_until_it_is_given_back_by_its_service(cluster, office):
    cluster.put("a")
    running = office()
    running.settle()
    cluster.configure("address-pools: [{name: other, protocol: layer2, addresses: [10.1.0.1/32]}]")
    running.settle()
    assert cluster.addresses("a") == ["10.0.0.1"]
    assert cluster.reasons == {"AddressStranded": 1}
    cluster.configure(CONFIG)
    running.settle()
    assert cluster.reasons == {"IPAllocated": 1}


def test_a_stranded_address_is_replaced_on_request(cluster, office):
    cluster.put("a")
    running = office(stranded=Stranded.REASSIGN)
    running.settle()
    cluster.configure("address-pools: [{name: other, protocol: layer2, addresses: [10.1.0.1/32]}]")
    until(holds(cluster, a=["10.1.0.1"]), 5)


def test_without_a_configuration_nothing_is_given_out_or_taken_away(cluster, office):
    cluster.config = None
    cluster.put("a", "10.0.0.2")
    cluster.put("b")
    running = office()
    running.settle()
    assert (cluster.addresses("a"), cluster.addresses("b"), cluster.writes) == (["10.0.0.2"], [], [])
    assert cluster.told == [("config", "ConfigMissing")]
    cluster.configure(CONFIG)
    until(holds(cluster, a=["10.0.0.2"], b=["10.0.0.1"]), 5)


def test_an_invalid_configuration_leaves_the_one_before_in_force(cluster, office):
    running = office()
    running.settle()
    cluster.configure("address-pools: 7")
    running.settle()
    assert cluster.config_bits == (True, True)
    cluster.put("a")
    until(holds(cluster, a=["10.0.0.1"]), 5)


def test_ten_thousand_services_are_adopted_without_a_write(cluster, office):
    cluster.config = "address-pools: [{name: big, protocol: layer2, addresses: [10.8.0.0/16]}]"
    for number in range(10_000):
        cluster.put(f"s{number}", f"10.8.{number >> 8}.{number & 255}", allocated_pool="big")
    office()
    until(lambda: cluster.usage.get("big", (0, 0))[1] == 10_000, 100, what="10 000 adopted addresses")
    assert cluster.writes == []
