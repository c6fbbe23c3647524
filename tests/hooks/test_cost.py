"""The cost of a run: sums, order, nesting of times, threads."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from carlab.hooks import count, measure, timed
from carlab.hooks import recording as module


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until a test sets its only item."""
    now = [0.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    return now


def test_times_of_one_name_add_up(clock: list[float]) -> None:
    with measure() as cost:
        for seconds in (1.5, 0.25):
            with timed("trunk"):
                clock[0] += seconds
            clock[0] += 100
    assert cost.seconds == {"trunk": 1.75}


def test_a_part_inside_another_counts_in_both(clock: list[float]) -> None:
    with measure() as cost, timed("refine"):
        clock[0] += 1
        with timed("crf"):
            clock[0] += 2
    assert cost.seconds == {"crf": 2, "refine": 3}


def test_time_is_kept_when_the_body_fails(clock: list[float]) -> None:
    with measure() as cost:
        with suppress(ZeroDivisionError), timed("trunk"):
            clock[0] += 2
            raise ZeroDivisionError
        with timed("text"):
            pass
    assert cost.seconds == {"trunk": 2, "text": 0}


def test_a_measurement_sees_only_its_own_scope(clock: list[float]) -> None:
    count("before")
    with measure() as outer:
        count("trunk")
        with measure() as inner, timed("vjp"):
            clock[0] += 1
            count("vjp", 5)
        count("trunk", 2)
    count("after")
    assert outer.passes == {"trunk": 3, "vjp": 5}
    assert inner.passes == {"vjp": 5}
    assert outer.seconds == inner.seconds == {"vjp": 1}


def test_a_measurement_may_wait_for_the_device(clock: list[float]) -> None:
    """Work that goes on after its call has returned is charged to the part that asked for it."""
    queued = [0.0]

    def synchronise() -> None:
        clock[0] += queued[0]
        queued[0] = 0.0

    def run() -> None:
        for name, seconds in (("trunk", 2.0), ("vjp", 0.5)):
            with timed(name):
                queued[0] += seconds

    with measure() as hasty:
        run()
    assert hasty.seconds == {"trunk": 0, "vjp": 0}
    queued[0] = 0.0
    with measure(synchronise) as cost, measure() as inner:
        run()
    assert cost.seconds == inner.seconds == {"trunk": 2.0, "vjp": 0.5}


def test_names_stand_in_the_order_of_first_use() -> None:
    with measure() as cost:
        for name in ("text", "trunk", "text", "affinity"):
            count(name)
    assert list(cost.passes) == ["text", "trunk", "affinity"]


def test_none_open_keeps_nothing_and_hurts_nobody() -> None:
    with timed("trunk"):
        count("trunk")
    with measure() as cost:
        pass
    assert (cost.seconds, cost.passes) == ({}, {})


def test_a_measurement_closes_when_the_body_fails() -> None:
    with pytest.raises(ZeroDivisionError), measure() as cost:
        raise ZeroDivisionError
    count("trunk")
    assert not cost.passes


def test_threads_do_not_share_measurements() -> None:
    with ThreadPoolExecutor(1) as pool, measure() as cost:
        pool.submit(count, "trunk").result()
    assert not cost.passes
