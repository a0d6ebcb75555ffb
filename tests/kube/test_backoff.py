from metallb_cli.kube.backoff import Backoff


def waits(backoff, times, now=0.0):
    return [backoff.failed(now) for _ in range(times)]


def test_each_wait_is_up_to_twice_the_one_before_and_at_most_thirty_seconds():
    for wait, full in zip(
        waits(Backoff(), 12), [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30, 30], strict=True
    ):
        assert full / 2 <= wait <= full


def test_waits_differ_so_that_daemons_do_not_return_together():
    assert len({Backoff().failed(0.0) for _ in range(20)}) > 1


def test_a_good_minute_starts_again():
    backoff = Backoff()
    waits(backoff, 8)
    backoff.succeeded(100.0)
    backoff.succeeded(130.0)
    assert backoff.failed(160.0) <= 0.2


def test_less_than_a_good_minute_does_not_start_again():
    backoff = Backoff()
    waits(backoff, 8)
    backoff.succeeded(100.0)
    assert backoff.failed(159.0) >= 15
    assert backoff.failed(230.0) >= 15


def test_the_server_is_obeyed_when_it_asks_for_more_within_reason():
    assert Backoff().failed(0.0, retry_after=5.0) == 5.0
    assert Backoff().failed(0.0, retry_after=0.01) >= 0.1
    assert Backoff().failed(0.0, retry_after=86400.0) == 60.0
