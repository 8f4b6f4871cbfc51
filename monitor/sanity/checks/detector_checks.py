"""The table of the checks that look at the detector once a second."""

from monitor.sanity.check import Check
from monitor.sanity.checks.daemon_checks import (
    BOARD_TEMPERATURE,
    BOARD_WARNINGS,
    CLOCK_DRIFT,
    DATA_AGE,
    DISK,
    QUEUE_DEPTH,
)
from monitor.sanity.checks.dead_pixels import DEAD_CHIP, DEAD_COLUMN, DEAD_PIXEL
from monitor.sanity.checks.frame_checks import DAMAGED_FRAMES, TIMESTAMP_ORDER
from monitor.sanity.checks.noisy_pixels import NOISY_PIXEL
from monitor.sanity.checks.rate_checks import RATE_DROP, RATE_JUMP
from monitor.sanity.checks.tot_checks import TOT_SATURATION, TOT_SHIFT

CHECKS: tuple[Check, ...] = (
    NOISY_PIXEL,
    DEAD_PIXEL,
    DEAD_COLUMN,
    DEAD_CHIP,
    RATE_DROP,
    RATE_JUMP,
    TOT_SATURATION,
    TOT_SHIFT,
    CLOCK_DRIFT,
    TIMESTAMP_ORDER,
    DAMAGED_FRAMES,
    DATA_AGE,
    QUEUE_DEPTH,
    DISK,
    BOARD_TEMPERATURE,
    BOARD_WARNINGS,
)
