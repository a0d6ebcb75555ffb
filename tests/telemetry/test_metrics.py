import re
from ipaddress import ip_address

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from metallb_cli.model import AddressCounters, ServiceKey
from metallb_cli.reconcile.history import Stages
from metallb_cli.telemetry import exposition
from metallb_cli.telemetry.metrics import ControllerMetrics, SpeakerMetrics

V4, V6 = ip_address("172.30.1.96"), ip_address("2001:db8::1")


def text_of(metrics):
    return metrics.exposition().decode()


def lines_of(metrics):
    """Every line about MetalLB, without the help."""
    return [line for line in text_of(metrics).splitlines() if "metallb_" in line and not line.startswith("# HELP")]


def controller(**options):
    metrics = ControllerMetrics(**options)
    metrics.config_state(loaded=True, stale=False)
    metrics.update_handled(failed=False)
    metrics.update_handled(failed=True)
    metrics.leadership(True)
    metrics.pool_usage({"default": (254, 3, 0, 0), "six": (0, 0, 1 << 64, 7)})
    metrics.services_by_reason({"IPAllocated": 3, "PoolExhausted": 1})
    return metrics


def test_the_controllers_exposition_is_this_line_by_line():
    metrics = controller(api_silence=lambda: {"services": 0.25, "configmaps": 3.0}, events_dropped=lambda: 2)
    assert lines_of(metrics) == [
        "# TYPE metallb_k8s_client_updates_total counter",
        "metallb_k8s_client_updates_total 2",
        "# TYPE metallb_k8s_client_update_errors_total counter",
        "metallb_k8s_client_update_errors_total 1",
        "# TYPE metallb_k8s_client_config_loaded_bool gauge",
        "metallb_k8s_client_config_loaded_bool 1",
        "# TYPE metallb_k8s_client_config_stale_bool gauge",
        "metallb_k8s_client_config_stale_bool 0",
        "# TYPE metallb_allocator_addresses_total gauge",
        'metallb_allocator_addresses_total{pool="default"} 254',
        'metallb_allocator_addresses_total{pool="six"} 1.8446744073709552e+19',
        "# TYPE metallb_allocator_addresses_in_use_total gauge",
        'metallb_allocator_addresses_in_use_total{pool="default"} 3',
        'metallb_allocator_addresses_in_use_total{pool="six"} 7',
        "# TYPE metallb_allocator_ipv4_addresses_total gauge",
        'metallb_allocator_ipv4_addresses_total{pool="default"} 254',
        'metallb_allocator_ipv4_addresses_total{pool="six"} 0',
        "# TYPE metallb_allocator_ipv4_addresses_in_use_total gauge",
        'metallb_allocator_ipv4_addresses_in_use_total{pool="default"} 3',
        'metallb_allocator_ipv4_addresses_in_use_total{pool="six"} 0',
        "# TYPE metallb_allocator_ipv6_addresses_total gauge",
        'metallb_allocator_ipv6_addresses_total{pool="default"} 0',
        'metallb_allocator_ipv6_addresses_total{pool="six"} 1.8446744073709552e+19',
        "# TYPE metallb_allocator_ipv6_addresses_in_use_total gauge",
        'metallb_allocator_ipv6_addresses_in_use_total{pool="default"} 0',
        'metallb_allocator_ipv6_addresses_in_use_total{pool="six"} 7',
        "# TYPE metallb_controller_services gauge",
        'metallb_controller_services{reason="IPAllocated"} 3',
        'metallb_controller_services{reason="PoolExhausted"} 1',
        "# TYPE metallb_k8s_client_leadership_bool gauge",
        "metallb_k8s_client_leadership_bool 1",
        "# TYPE metallb_api_silence_seconds gauge",
        'metallb_api_silence_seconds{resource="configmaps"} 3',
        'metallb_api_silence_seconds{resource="services"} 0.25',
        "# TYPE metallb_events_dropped_total counter",
        "metallb_events_dropped_total 2",
    ]


def speaker():
    metrics = SpeakerMetrics("node-1")
    metrics.announced({(ServiceKey("metal-test", "nginx"), V4): "layer2"})
    metrics.address_counters({V4: AddressCounters(5, 4, 3), V6: AddressCounters(2, 1, 0)})
    metrics.frame_drops({"ARPReply": 7, "AnnounceIP": 9})
    metrics.ownership_changes({"OwnerDied": 2, "Claimed": 1})
    metrics.ownership_changes({"OwnerDied": 3})
    metrics.failover(Stages(0.3, 0.002, 0.008))
    metrics.failover(Stages(None, 0.004, 0.02))
    metrics.peers(live=2, dead=1)
    metrics.fenced(True)
    metrics.suspended(True)
    metrics.contested(4)
    return metrics


def test_the_speakers_exposition_is_this_line_by_line():
    lines = [line for line in lines_of(speaker()) if "_failover_seconds" not in line]
    assert lines[8:] == [
        "# TYPE metallb_speaker_announced gauge",
        'metallb_speaker_announced{service="metal-test/nginx",protocol="layer2",node="node-1",ip="172.30.1.96"} 1',
        "# TYPE metallb_speaker_frame_drops_total counter",
        'metallb_speaker_frame_drops_total{reason="ARPReply"} 7',
        'metallb_speaker_frame_drops_total{reason="AnnounceIP"} 9',
        "# TYPE metallb_speaker_ownership_changes_total counter",
        'metallb_speaker_ownership_changes_total{reason="Claimed"} 1',
        'metallb_speaker_ownership_changes_total{reason="OwnerDied"} 5',
        "# TYPE metallb_speaker_peers gauge",
        'metallb_speaker_peers{state="live"} 2',
        'metallb_speaker_peers{state="dead"} 1',
        "# TYPE metallb_speaker_fenced gauge",
        "metallb_speaker_fenced 1",
        "# TYPE metallb_speaker_suspended gauge",
        "metallb_speaker_suspended 1",
        "# TYPE metallb_speaker_contested_addresses gauge",
        "metallb_speaker_contested_addresses 4",
        "# TYPE metallb_layer2_requests_received counter",
        'metallb_layer2_requests_received{ip="172.30.1.96"} 5',
        'metallb_layer2_requests_received{ip="2001:db8::1"} 2',
        "# TYPE metallb_layer2_responses_sent counter",
        'metallb_layer2_responses_sent{ip="172.30.1.96"} 4',
        'metallb_layer2_responses_sent{ip="2001:db8::1"} 1',
        "# TYPE metallb_layer2_gratuitous_sent counter",
        'metallb_layer2_gratuitous_sent{ip="172.30.1.96"} 3',
        'metallb_layer2_gratuitous_sent{ip="2001:db8::1"} 0',
        "# TYPE metallb_arp_requests_received counter",
        'metallb_arp_requests_received{ip="172.30.1.96"} 5',
        "# TYPE metallb_arp_responses_sent counter",
        'metallb_arp_responses_sent{ip="172.30.1.96"} 4',
        "# TYPE metallb_arp_gratuitous_sent counter",
        'metallb_arp_gratuitous_sent{ip="172.30.1.96"} 3',
        "# TYPE metallb_ndp_requests_received counter",
        'metallb_ndp_requests_received{ip="2001:db8::1"} 2',
        "# TYPE metallb_ndp_responses_sent counter",
        'metallb_ndp_responses_sent{ip="2001:db8::1"} 1',
        "# TYPE metallb_ndp_gratuitous_sent counter",
        'metallb_ndp_gratuitous_sent{ip="2001:db8::1"} 0',
        "# TYPE metallb_events_dropped_total counter",
        "metallb_events_dropped_total 0",
    ]


def test_takeovers_are_a_histogram_of_each_stage_and_of_the_whole():
    lines = [line for line in lines_of(speaker()) if "_failover_seconds" in line]
    assert lines[0] == "# TYPE metallb_speaker_failover_seconds histogram"
    for expected in (
        'metallb_speaker_failover_seconds_bucket{stage="detect",le="0.2"} 0',
        'metallb_speaker_failover_seconds_bucket{stage="detect",le="0.3"} 1',
        'metallb_speaker_failover_seconds_bucket{stage="detect",le="+Inf"} 1',
        'metallb_speaker_failover_seconds_count{stage="detect"} 1',
        'metallb_speaker_failover_seconds_sum{stage="detect"} 0.3',
        'metallb_speaker_failover_seconds_bucket{stage="announce",le="0.01"} 1',
        'metallb_speaker_failover_seconds_bucket{stage="announce",le="0.025"} 2',
        'metallb_speaker_failover_seconds_count{stage="decide"} 2',
        'metallb_speaker_failover_seconds_bucket{stage="total",le="0.4"} 1',
        'metallb_speaker_failover_seconds_count{stage="total"} 1',
    ):
        assert expected in lines
    assert not [line for line in lines if "_created" in line]


def test_every_stage_is_there_before_the_first_takeover():
    text = text_of(SpeakerMetrics("a"))
    for stage in ("detect", "decide", "announce", "total"):
        assert f'metallb_speaker_failover_seconds_count{{stage="{stage}"}} 0\n' in text


@pytest.mark.parametrize("metrics", [controller(), speaker()], ids=["controller", "speaker"])
def test_a_strict_parser_reads_back_every_sample_under_its_type(metrics):
    text = text_of(metrics)
    samples = [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    written = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) == len(written)
    assert not [family.name for family in text_string_to_metric_families(text) if family.type == "unknown"]


@pytest.mark.parametrize("metrics", [controller(), speaker()], ids=["controller", "speaker"])
def test_every_line_has_the_shape_that_the_format_asks_for(metrics):
    name = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
    label = rf'{name}="(?:[^"\\\n]|\\["\\n])*"'
    shape = re.compile(
        rf"# HELP {name} .+|# TYPE {name} (counter|gauge|histogram)|{name}(\{{{label}(,{label})*\}})? \S+"
    )
    text = text_of(metrics)
    assert text.endswith("\n")
    assert [line for line in text.splitlines() if not shape.fullmatch(line)] == []


def test_each_family_appears_once_with_help_and_type_before_its_samples():
    seen = []
    for line in text_of(controller()).splitlines():
        if line.startswith("# TYPE"):
            seen.append(line.split()[2])
        elif not line.startswith("#"):
            assert re.split(r"[{ ]", line)[0] == seen[-1]
    assert len(seen) == len(set(seen))


def test_the_process_itself_is_measured():
    text = text_of(controller())
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds", "python_info"):
        assert re.search(rf"^{name}[{{ ]", text, re.MULTILINE), name


def test_series_vanish_with_their_pool():
    metrics = controller()
    metrics.pool_usage({"six": (0, 0, 4, 1)})
    assert 'pool="default"' not in text_of(metrics)
    assert 'metallb_allocator_addresses_total{pool="six"} 4' in lines_of(metrics)
    metrics.pool_usage({})
    assert "metallb_allocator" not in text_of(metrics)


def test_series_vanish_with_their_service_and_address():
    metrics = speaker()
    metrics.announced({})
    metrics.address_counters({})
    metrics.frame_drops({})
    assert "172.30.1.96" not in text_of(metrics)
    assert "ARPReply" not in text_of(metrics)


def test_what_the_daemon_changes_later_does_not_change_what_was_told():
    usage = {"default": (254, 3, 0, 0)}
    metrics = ControllerMetrics()
    metrics.pool_usage(usage)
    usage["other"] = (1, 1, 0, 0)
    assert "other" not in text_of(metrics)


def test_leadership_is_unknown_before_the_first_election():
    metrics = ControllerMetrics()
    assert "metallb_k8s_client_leadership_bool -1" in lines_of(metrics)
    metrics.leadership(False)
    assert "metallb_k8s_client_leadership_bool 0" in lines_of(metrics)


def test_a_stale_configuration_is_one_that_is_loaded_and_old():
    metrics = SpeakerMetrics("a")
    metrics.config_state(loaded=True, stale=True)
    assert "metallb_k8s_client_config_loaded_bool 1" in lines_of(metrics)
    assert "metallb_k8s_client_config_stale_bool 1" in lines_of(metrics)


def test_label_values_are_escaped():
    family = GaugeMetricFamily("x", 'say "hi" \\ and\nmore', labels=["l"])
    family.add_metric(['a"b\\c\nd'], 1)
    assert exposition.write([family]) == (
        b'# HELP x say "hi" \\\\ and\\nmore\n# TYPE x gauge\nx{l="a\\"b\\\\c\\nd"} 1\n'
    )
    assert next(iter(text_string_to_metric_families(exposition.write([family]).decode()))).samples[0].labels == {
        "l": 'a"b\\c\nd'
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1.0, "1"), (True, "1"), (0.1, "0.1"), (2.0**60, "1.152921504606847e+18"), (1 << 20, "1048576")],
)
def test_numbers_are_written_as_go_does_for_whole_ones_and_exactly_for_others(value, text):
    family = GaugeMetricFamily("x", "x")
    family.add_metric([], value)
    written = exposition.write([family]).decode().splitlines()[-1]
    assert written == f"x {text}"
    assert float(written.split()[1]) == value


def test_not_a_number_and_infinity_are_written_so_that_prometheus_reads_them():
    family = GaugeMetricFamily("x", "x")
    family.add_metric([], float("inf"))
    family.add_metric([], float("nan"))
    assert exposition.write([family]).decode().splitlines()[-2:] == ["x +Inf", "x NaN"]
