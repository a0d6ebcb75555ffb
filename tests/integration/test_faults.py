"""What the daemons do while the API server is away, frozen, slow or refusing: go on, say so, recover by themselves."""

import time

import pytest

from metallb_cli.election import ranking
from metallb_cli.lab.network import Lan
from metallb_cli.model import parse_address
from tests.integration.test_speaker import NODES, VIP, owner
from tests.support.roles import until

pytestmark = [pytest.mark.slow]

ORDER = ranking(parse_address(VIP), NODES)


def has(site, name, *addresses):
    return lambda: site.addresses(name) == list(addresses)


@pytest.fixture
def api(embedded_api):
    return embedded_api


@pytest.fixture
def running(embedded_site):
    """A controller that has given one address out."""
    embedded_site.configure()
    embedded_site.create("web")
    controller = embedded_site.start("controller").ready()
    until(has(embedded_site, "web", VIP), what="the address")
    return controller


@pytest.mark.parametrize(("status", "retry_after"), [(409, None), (429, 1), (500, None), (503, None), (504, None)])
def test_a_refused_write_is_repeated_until_it_is_done(embedded_site, api, running, status, retry_after):
    api.fail(3, status, verb="patch", resource="services/status", retry_after=retry_after)
    embedded_site.create("next")
    until(has(embedded_site, "next", "172.30.1.97"), what="the address in spite of the refusals")
    embedded_site.create("last")
    until(has(embedded_site, "last", "172.30.1.98"))
    assert running.process.poll() is None


def test_an_answer_that_is_lost_gives_no_second_address(embedded_site, api, running):
    api.lose_answers(2, verb="patch", resource="services/status")
    for name in ("a", "b", "c"):
        embedded_site.create(name)
    until(lambda: all(embedded_site.addresses(n) for n in "abc"), what="three addresses")
    addresses = [embedded_site.addresses(n)[0] for n in ("web", "a", "b", "c")]
    assert sorted(addresses) == ["172.30.1.96", "172.30.1.97", "172.30.1.98", "172.30.1.99"]


def test_a_controller_whose_api_server_freezes_steps_down_and_comes_back(embedded_site, api, running):
    api.freeze()
    until(lambda: running.metric("metallb_k8s_client_leadership_bool") == {"": 0.0}, 10, what="stepping down")
    assert running.page("/healthz")[0] == 200
    api.thaw()
    embedded_site.create("next")
    until(has(embedded_site, "next", "172.30.1.97"), 15, what="work after the thaw")
    assert embedded_site.addresses("web") == [VIP]
    assert running.process.poll() is None


def test_a_service_made_while_the_watch_is_broken_is_seen_afterwards(embedded_site, api, running):
    api.pause_watches()
    embedded_site.create("next")
    api.expire_history()
    api.cut_streams()
    api.resume_watches()
    until(has(embedded_site, "next", "172.30.1.97"), what="the address after a new list (410)")


def test_an_api_server_that_restarts_costs_nothing(embedded_site, api, running):
    port_before = api.url
    api.stop()
    time.sleep(1.0)
    assert running.process.poll() is None
    api.start()
    assert api.url == port_before
    embedded_site.create("next")
    until(has(embedded_site, "next", "172.30.1.97"), 20, what="work after the restart")
    assert embedded_site.addresses("web") == [VIP]


@pytest.fixture
def lan():
    lan = Lan(3, name="mlbf")
    yield lan
    lan.remove()


@pytest.fixture
def answering(embedded_site, lan):
    """Three speakers, of which one answers for the address."""
    embedded_site.configure()
    embedded_site.create("web", ip=VIP)
    embedded_site.serve("web", *NODES)
    speakers = {}
    for node in NODES:
        embedded_site.raw.post("/api/v1/nodes", {"metadata": {"name": node}})
        speakers[node] = embedded_site.start("speaker", "--node", node, "--netns", lan.nodes[node].namespace.reference)
    for role in speakers.values():
        role.ready()
    until(lambda: owner(lan) == ORDER[0], what="an answer")
    return speakers


def stays(lan, node, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert owner(lan) == node
        time.sleep(0.1)


@pytest.mark.live
def test_speakers_go_on_answering_while_the_api_server_is_frozen_and_nothing_moves_after_it(api, lan, answering):
    api.freeze()
    stays(lan, ORDER[0], 6.0)  # three times the Lease's duration in these tests
    api.thaw()
    stays(lan, ORDER[0], 5.0)
    assert all(role.process.poll() is None for role in answering.values())


@pytest.mark.live
def test_speakers_go_on_answering_while_the_api_server_is_down_and_work_again_after_it(
    embedded_site, api, lan, answering
):
    api.stop()
    stays(lan, ORDER[0], 5.0)
    api.start()
    stays(lan, ORDER[0], 3.0)
    answering[ORDER[0]].kill()
    until(lambda: owner(lan) not in (ORDER[0], None), 12, what="a takeover after the outage")


@pytest.mark.live
def test_a_speaker_that_starts_while_the_api_server_is_away_waits_for_it(embedded_site, api, lan, answering):
    answering[ORDER[0]].stop()
    until(lambda: owner(lan) == ORDER[1])
    api.freeze()
    again = embedded_site.start("speaker", "--node", ORDER[0], "--netns", lan.nodes[ORDER[0]].namespace.reference)
    stays(lan, ORDER[1], 2.0)
    assert again.page("/readyz")[0] == 503
    api.thaw()
    again.ready(30)
    stays(lan, ORDER[1], 3.0)  # a node that comes back takes nothing away
