"""Each caller may be as fast as the rate says, with bursts, and learns when to come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchat_core.rates import Rates, network


def test_a_burst_passes_and_then_one_per_interval() -> None:
    buckets = Rates(2, 3)
    assert [buckets.take("a", 0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("a", 499) > 0
    assert buckets.take("a", 500) == 0
    assert buckets.take("a", 500) == 0.5
    assert buckets.take("b", 500) == 0


def test_a_rate_of_none_lets_everything_pass() -> None:
    buckets = Rates(0, 1)
    assert {buckets.take("a", 0, 1_000) for _ in range(1_000)} == {0}


@given(st.lists(st.tuples(st.integers(0, 2_000), st.integers(1, 4)), max_size=60))
def test_who_waits_as_long_as_told_is_served_and_nobody_gets_more_than_the_rate(
    steps: list[tuple[int, int]],
) -> None:
    rate, burst, now, taken = 3, 5, 0, 0
    buckets = Rates(rate, burst)
    for pause, count in steps:
        now += pause
        wait = buckets.take("a", now, count)
        if wait:
            now += int(wait * 1000) + 1
            assert buckets.take("a", now, count) == 0
        taken += count
        assert taken <= burst + now / 1000 * rate


def test_time_that_goes_back_gives_nothing() -> None:
    buckets = Rates(1, 1)
    assert buckets.take("a", 5_000) == 0
    assert buckets.take("a", 0) == 1


def test_more_than_a_burst_passes_when_the_bucket_is_full_and_is_paid_for_afterwards() -> None:
    buckets = Rates(1, 2)
    assert buckets.take("a", 0, 5) == 0
    assert buckets.take("a", 0) == 4
    assert buckets.take("a", 4_000) == 0


def test_callers_are_forgotten_before_there_are_too_many() -> None:
    buckets, many = Rates(1, 1), 50_001
    for number in range(many):
        buckets.take(str(number), 0)
    assert buckets.take(str(many - 1), 0) == 1
    assert buckets.take("0", 0) == 0


def test_all_callers_of_an_address_have_a_rate_together() -> None:
    buckets = Rates(1, 2, 2)
    taken = [buckets.take(f"token {number}", 0, address="10.0.0.1") for number in range(5)]
    assert taken == [0, 0, 0, 0, 0.5]
    assert buckets.take("token 9", 0, address="10.0.0.2") == 0
    assert buckets.take("token 9", 1_000, address="10.0.0.1") == 0


def test_who_floods_takes_nothing_from_the_others_of_its_address() -> None:
    buckets = Rates(1, 2, 2)
    for _ in range(100):
        buckets.take("flood", 0, address="10.0.0.1")
    assert [buckets.take("other", 0, address="10.0.0.1") for _ in range(2)] == [0, 0]


@given(
    st.sampled_from([0.3, 7.0, 20.0, 49.0, 333.0, 5_000.0]),
    st.lists(st.integers(0, 40), min_size=1, max_size=60),
)
def test_a_wait_is_whole_milliseconds_and_enough(rate: float, steps: list[int]) -> None:
    buckets, now = Rates(rate, 3), 0
    for step in steps:
        now += step
        wait = buckets.take("a", now)
        assert wait == 0 or wait >= 0.001
        assert wait == round(wait, 3)
        if wait:
            now += round(wait * 1_000)
            assert buckets.take("a", now) == 0


def test_who_is_refused_for_the_others_of_its_address_has_spent_nothing() -> None:
    buckets = Rates(1, 2, 1)
    assert [buckets.take("other", 0, address="10.0.0.1") for _ in range(2)] == [0, 0]
    assert [buckets.take("mine", 0, address="10.0.0.1") for _ in range(9)] == [1] * 9
    assert [buckets.take("mine", 2_000, address="10.0.0.1") for _ in range(2)] == [0, 0]
    assert [buckets.take("mine", 2_000, address="10.0.0.2") for _ in range(2)] != [0, 0]


@pytest.mark.parametrize(
    ("address", "counts_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("a socket", "a socket"),
    ],
)
def test_of_ipv6_a_network_counts_as_one_address(address: str, counts_as: str) -> None:
    assert network(address) == counts_as


def test_what_is_no_address_counts_as_itself() -> None:
    assert [network(name) for name in ("", "proxy-1.example", "unix:")] == [
        "",
        "proxy-1.example",
        "unix:",
    ]
