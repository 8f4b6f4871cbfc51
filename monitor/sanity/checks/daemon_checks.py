"""What the daemon's state says of itself, and how late its data and its board's clock are."""

from collections.abc import Mapping, Sequence

import numpy as np

from monitor.sanity.check import CheckInput, CheckResult, Limit, check
from monitor.sanity.checks.frame_checks import timestamp_order_wrong
from protocol.registers.astep_setup import TIMESTAMP_HZ
from protocol.units import NS_PER_S
from protocol.wire.alarms import AlarmLevel

NS_PER_TICK = NS_PER_S // TIMESTAMP_HZ
"""Of the FPGA's time stamp (docs/formats.md, "Layer frames")."""

_USUAL_STAMP_BITS = 32
_LEAST_STAMP_BITS = 32
"""Of 16 bits, the counter goes round fifteen times a second."""

_TEMPERATURE = "temperature_c"
_SUBJECT_LETTERS = 40
"""Of a warning of the board: enough to tell it from another."""


def _level(value: float, warning: float, critical: float) -> AlarmLevel | None:
    if value >= critical:
        return AlarmLevel.CRITICAL
    return AlarmLevel.WARNING if value >= warning else None


@check(
    AlarmLevel.WARNING,
    "the disk is too slow or busy: stop what else writes there, or lower the rate",
    limits=(
        Limit("warning", 0.5, "part of the queue that is full", most=1.0),
        Limit("critical", 0.9, "part of the queue that is full", most=1.0),
    ),
    live_only=True,
)
def queue_depth(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """Bytes that wait for the disk."""
    if seen.stat is None or not seen.stat.queue.limit_bytes:
        return None
    queue = seen.stat.queue
    part = queue.bytes / queue.limit_bytes
    level = _level(part, limits["warning"], limits["critical"])
    if level is None:
        return []
    text = f"{queue.bytes} of {queue.limit_bytes} bytes wait for the disk ({part:.0%}); full, the run ends in an error"
    return [CheckResult("", text, part, limits["warning"], level)]


@check(
    AlarmLevel.WARNING,
    "delete or move what is not needed, or end the run and go on where there is room",
    live_only=True,
)
def disk(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """Room on the disk that the files go to, by the limits in the daemon's own configuration."""
    if seen.stat is None or not seen.stat.disk.path:
        return None
    disk = seen.stat.disk
    if disk.level == "ok":
        return []
    hours = "" if disk.time_to_full_s is None else f", full in {disk.time_to_full_s / 3600:.1f} h at this rate"
    text = f"{disk.reason or disk.path}{hours}"
    return [CheckResult(disk.path, text, disk.free_bytes / 1e6, None, AlarmLevel(disk.level))]


@check(
    AlarmLevel.WARNING,
    "is the fan running, is the board in the sun? an FPGA of commercial grade is good to 85 °C",
    limits=(
        Limit("warning_c", 70.0, "°C; 15 below what the FPGA is specified for"),
        Limit("critical_c", 85.0, "°C; the highest junction temperature of commercial grade (Xilinx DS181)"),
    ),
    live_only=True,
)
def board_temperature(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """Temperatures that the board measures."""
    if seen.stat is None:
        return None
    results, known = [], False
    for name, value in seen.stat.board.counters.items():
        if not name.endswith(_TEMPERATURE) or isinstance(value, str):
            continue
        known = True
        level = _level(value, limits["warning_c"], limits["critical_c"])
        if level is not None:
            results.append(CheckResult(name, f"{name} is {value:g} °C", value, limits["warning_c"], level))
    return results if known else None


@check(
    AlarmLevel.WARNING,
    "the warning says what to change; it stays until the board is configured again",
    in_a_row=1,
)
def board_warnings(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """What the board's driver warns of: a setting that contradicts the firmware, a configuration that reads back
    wrong.
    """
    if seen.stat is not None:
        warnings: Sequence[object] = seen.stat.board.warnings
    elif seen.record is not None:
        recorded = seen.record.board.get("warnings", [])
        warnings = recorded if isinstance(recorded, list) else []
    else:
        return None
    return [CheckResult(str(warning)[:_SUBJECT_LETTERS], str(warning)) for warning in warnings]


@check(
    AlarmLevel.WARNING,
    "is the publisher or the network too slow (publisher lag in the state)? are the computers' clocks set (chrony)?",
    limits=(
        Limit("late_s", 10.0, "s; usual are some ms, and a publisher that was restarted is back within 2 s"),
        Limit("ahead_s", 2.0, "s that the clock of the daemon's computer may be ahead of ours"),
    ),
    in_a_row=10,  # who comes late and asks for the past gets old hits for some seconds
    live_only=True,
)
def data_age(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """Hits that reach us long after they were read from the board."""
    if not len(seen.hits):
        return None
    newest_ns = int(seen.hits["timestamp"].max())
    if not newest_ns:
        return None
    age_s = (seen.now_ns - newest_ns) / NS_PER_S
    if age_s < -limits["ahead_s"]:
        text = f"hits are from {-age_s:.1f} s in the future: the clocks of the two computers differ"
        return [CheckResult("", text, -age_s, limits["ahead_s"])]
    if age_s > limits["late_s"]:
        return [CheckResult("", f"the newest hits are {age_s:.1f} s old", age_s, limits["late_s"])]
    return []


def clock_offset_s(seen: CheckInput) -> tuple[float, float] | None:
    """(host's clock, FPGA's clock less host's), both in s, of the hits that came last; None where there are none.

    Of the hit that waited least in the FIFO: of which the FPGA's clock is the furthest behind the readout's, less all.
    The second is known but for whole turns of the counter.
    """
    hits = seen.hits
    if "fpga_timestamp" not in (hits.dtype.names or ()) or not len(hits):
        return None
    turn_s = turn_of_clock_s(seen)
    if turn_s is None:
        return None
    host_s = (hits["timestamp"] - hits["timestamp"][0]).astype(np.int64) / NS_PER_S
    board_s = hits["fpga_timestamp"].astype(np.float64) * NS_PER_TICK / NS_PER_S
    ahead = (board_s - host_s) - (board_s[0] - host_s[0])
    ahead = (ahead + turn_s / 2) % turn_s - turn_s / 2
    newest = int(np.argmax(ahead))
    first_s = int(hits["timestamp"][0]) / NS_PER_S
    return first_s + float(host_s[newest]), float(board_s[newest] - host_s[newest])


def turn_of_clock_s(seen: CheckInput) -> float | None:
    """After how long the FPGA's counter begins anew; None where that is too often to follow."""
    bits = (seen.record.timestamp_bits if seen.record else None) or _USUAL_STAMP_BITS
    return None if bits < _LEAST_STAMP_BITS else float((1 << bits) * NS_PER_TICK / NS_PER_S)


@check(
    AlarmLevel.WARNING,
    "the computer's clock was set, or the board was reset; if it goes on, the board's oscillator is off",
    limits=(
        Limit("ppm", 1000.0, "µs a second; oscillators are good to 100, and a readout's time to some ms a minute"),
        Limit("jump_s", 1.0, "s between two looks, a minute apart"),
    ),
    minimum_hits=2,
    minimum_live_s=60.0,
    in_a_row=2,
)
def clock_drift(seen: CheckInput, limits: Mapping[str, float]) -> Sequence[CheckResult] | None:
    """The board's clock runs faster or slower than the computer's, or jumps."""
    turn_s = turn_of_clock_s(seen)
    if seen.before is None or turn_s is None or timestamp_order_wrong(seen.frames):
        return None
    now, then = clock_offset_s(seen), clock_offset_s(seen.before)
    if now is None or then is None or now[0] - then[0] <= 0:
        return None
    # `clock_offset_s` counts the host from the first hit of each look.
    host_s = now[0] - then[0]
    first_s = (int(seen.hits["timestamp"][0]) - int(seen.before.hits["timestamp"][0])) / NS_PER_S
    apart_s = now[1] - then[1] - first_s
    apart_s = (apart_s + turn_s / 2) % turn_s - turn_s / 2
    if abs(apart_s) > limits["jump_s"]:
        text = f"the board's clock jumped by {apart_s:.3g} s against the computer's within {host_s:.0f} s"
        return [CheckResult("jump", text, abs(apart_s), limits["jump_s"])]
    drift_ppm = apart_s / host_s * 1e6
    if abs(drift_ppm) > limits["ppm"]:
        text = f"the board's clock gains {drift_ppm:.4g} µs a second on the computer's (over {host_s:.0f} s)"
        return [CheckResult("drift", text, abs(drift_ppm), limits["ppm"])]
    return []
