"""How often noisy_pixel and the others are wrong by chance: many hours of Poisson counts, look after look.

The short ones are part of the suite; `make soak` runs the long ones, whose figures stand in docs/sanity.md. The limit
is set to one false alarm an hour instead of one in a thousand, so that there is something to count.
"""

import numpy as np
import pytest

from monitor.sanity.check import Check, HitCounts
from monitor.sanity.checks.dead_pixels import dead_pixel
from monitor.sanity.checks.frame_checks import MIN_HITS, damaged_frames
from monitor.sanity.checks.noisy_pixels import noisy_pixel
from monitor.sanity.checks.silence import Arrivals
from monitor.sanity.checks.tot_checks import tot_shift
from monitor.sanity.frame_counts import FrameCounts
from tests.monitor.sanity.made_inputs import made_counts, made_input, of_map

pytestmark = pytest.mark.slow

PER_HOUR = 1.0
LOOK_S = 10.0
SEEDS = (7, 8, 9, 10)


def false_alarms(
    check: Check, hours: int, pixels: np.ndarray, seed: int, *, factor: float = 1.0, look_s: float = LOOK_S
) -> int:
    """Alarms in runs of an hour: each pixel that is named counts once a run, however many looks name it.

    `pixels`: rates (chips, rows, columns) in Hz.
    """
    random = np.random.default_rng(seed)
    limits = {"false_alarms_per_hour": PER_HOUR, "factor": factor}
    wrong = 0
    for _ in range(hours):
        before = None
        counts = np.zeros(pixels.shape, np.int64)
        named: set[str] = set()
        for look in range(1, round(3600 / look_s) + 1):
            counts = counts + random.poisson(pixels * look_s)
            seen = made_input(of_map(counts), look * look_s, before=before)
            named |= {result.subject for result in check.function(seen, limits) or ()}
            before = made_input(seen.counts, seen.live_s)
        wrong += len(named)
    return wrong


def uniform(chips: int, rate_hz: float) -> np.ndarray:
    return np.full((chips, 13, 16), rate_hz / (chips * 208))


@pytest.mark.parametrize("rate_hz", [5.0, 200.0])
def test_noisy_pixel_is_wrong_at_most_as_often_as_it_says(rate_hz: float) -> None:
    wrong = false_alarms(noisy_pixel, 5, uniform(1, rate_hz), 1)
    assert wrong <= 14  # 5 expected at most; 14 or more of 5 have a chance of 7e-4


def test_pixels_that_differ_by_nature_raise_no_false_alarms() -> None:
    random = np.random.default_rng(4)
    pixels = uniform(1, 100.0) * random.uniform(0.5, 2.0, (1, 13, 16))
    assert false_alarms(noisy_pixel, 3, pixels, 1, factor=3.0) == 0
    assert false_alarms(dead_pixel, 3, pixels, 1, factor=3.0, look_s=60) == 0


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("chips", [1, 4, 32])
@pytest.mark.parametrize("rate_hz", [0.5, 5.0, 50.0, 1000.0])
def test_the_rate_of_false_alarms_over_many_hours(chips: int, rate_hz: float, seed: int) -> None:
    hours = 100 if chips < 32 else 20
    for check, factor, look_s in ((noisy_pixel, 1.0, 10.0), (noisy_pixel, 3.0, 10.0), (dead_pixel, 1.0, 60.0)):
        wrong = false_alarms(check, hours, uniform(chips, rate_hz), seed, factor=factor, look_s=look_s)
        print(f"{check.name} {chips} chips {rate_hz} Hz factor {factor}: {wrong} in {hours} h")
        most = hours * PER_HOUR
        assert wrong <= most + 4 * np.sqrt(most)


def spectra(random: np.random.Generator, chips: int, hits: float) -> HitCounts:
    counts = made_counts(chips)
    for chip in range(chips):
        tot = np.histogram(random.normal(235, 20, random.poisson(hits)), 1320, (0, 6600))[0]
        counts.tot[chip, :-1] = tot
    return counts


def test_tot_shift_is_wrong_at_most_as_often_as_it_says() -> None:
    random, wrong, live_s, before = np.random.default_rng(9), 0, 0.0, None
    total = made_counts(4)
    for _ in range(360):
        live_s += 10
        new = spectra(random, 4, 300)
        total = made_counts(4, tot=total.tot + new.tot)
        seen = made_input(total, live_s, before=before)
        wrong += bool(tot_shift.function(seen, {"false_alarms_per_hour": PER_HOUR, "fraction": 0.0}))
        before = made_input(total, live_s)
    assert wrong <= 5


@pytest.mark.parametrize("rate_hz", [0.005, 0.05])
def test_silences_by_chance_are_taken_for_wonders_at_most_as_often_as_they_say(rate_hz: float) -> None:
    random, arrivals = np.random.default_rng(3), Arrivals()
    hours, t_s, wrong = 200, 0.0, 0
    while t_s < hours * 3600:
        pause_s = random.exponential(1 / rate_hz)
        wrong += pause_s > arrivals.longest_s(PER_HOUR) > 0
        t_s += pause_s
        arrivals.add([t_s])
    assert 50 < wrong < 242  # 200 expected, 242 have a chance of 2e-3; fewer, as an hour is the end of all patience


PEAK_FRACTION = 1.6e-4
"""Of intact hits of version 3 that end in three idle bytes, where their ToT is a peak of 0.1 µs around 33.89 µs."""


def damage_seen(fraction: float, rate_hz: float, hours: float, seed: int, layers: int = 3) -> list[float]:
    """Seconds after which the first layer is named in each of so many runs of an hour; infinite where none is.

    `fraction` of the hits of each layer end in idle bytes. The check is asked every 10 s, with `MIN_HITS` new hits.
    """
    random, limits = np.random.default_rng(seed), damaged_frames.defaults()
    first = []
    for _ in range(round(hours)):
        counts, before, named_s = FrameCounts(), None, np.inf
        for look in range(1, 361):
            hits, damaged = np.zeros(256, np.int64), np.zeros(256, np.int64)
            hits[1 : layers + 1] = random.poisson(rate_hz / layers * LOOK_S, layers)
            damaged[1 : layers + 1] = random.binomial(hits[1 : layers + 1], fraction)
            counts = FrameCounts(counts.hits + hits, counts.idle_ended + damaged)
            if counts.since(before).hits.sum() < MIN_HITS:
                continue
            seen = made_input(frames=counts, before=None if before is None else made_input(frames=before))
            if damaged_frames.function(seen, limits):
                named_s = look * LOOK_S
                break
            before = counts
        first.append(named_s)
    return first


def test_hits_that_look_damaged_by_chance_raise_no_alarm() -> None:
    assert np.isinf(damage_seen(PEAK_FRACTION, 100.0, 10, 1)).all()


@pytest.mark.soak
@pytest.mark.parametrize("rate_hz", [1.0, 10.0, 100.0, 1000.0, 100_000.0])
def test_how_soon_damage_is_found_and_how_often_chance_is_taken_for_it(rate_hz: float) -> None:
    false = np.isfinite(damage_seen(PEAK_FRACTION, rate_hz, 500, 2))
    print(f"damaged_frames {rate_hz} Hz: {np.count_nonzero(false)} false alarms in 500 h")
    assert not false.any()
    for fraction in (0.01, 0.02, 0.05, 0.2, 0.6):
        seconds = np.array(damage_seen(fraction, rate_hz, 50, 3))
        print(f"  {fraction:.0%} damaged: named after {np.median(seconds):.0f} s, at most {seconds.max():.0f} s")
