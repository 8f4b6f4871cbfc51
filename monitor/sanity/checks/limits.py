"""What is still sane: the limits of the checks, each with the reason for its default."""

from dataclasses import dataclass, field

from monitor.detector import Geometry


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of all checks. Fractions are of the hits, or bytes, of one run; at the limit all is still well."""

    geometry: Geometry = field(default_factory=Geometry)
    """Pixels that exist. Chips: 31 in a chain can be told apart, fewer where options, stream or file say so."""

    min_tot_us: float = 0.0
    """A hit is at least so long. No duration at all is for `tot_zero`, which has a fraction of its own."""

    max_tot_us: float = 6553.575
    """The counter's longest time, 2^18 - 1 counts of 25 ns where the clock phase counts, too: more cannot come."""

    tot_zero_fraction: float = 1e-3
    """Noise shorter than one count of 50 ns does occur; the shortest of 1000 hits recorded on the bench has 400 ns."""

    orphan_fraction: float = 1e-3
    """Of the bytes. The bench recordings have none; one garbled hit of 8 bytes in 1000 hits is worth a look."""

    dropped_fraction: float = 1e-3
    """Of the hits, those begun and not completed. The bench recordings have none."""

    restored_fraction: float = 1e-2
    """Of the hits, those whose last bytes went with the padding. A hit has to end in 0xFF (1 in 256) exactly at the end
    of the readout for that: more than 1 in 100 says that bytes are lost there."""

    time_step_s: float = 60.0
    """Between readouts. Noise alone gives several readouts a minute; longer steps are lost data or a clock that was
    set, where the readouts before were not so rare that chance gives such steps."""

    time_step_false_alarms: float = 1e-3
    """Per hour: steps that chance gives, where readouts are rare."""

    stat_silence_s: float = 5.0
    """The state is published once a second; five in a row missing is no accident."""

    hit_silence_s: float = 60.0
    """In a running run, as `time_step_s`."""

    hit_silence_false_alarms: float = 1e-3
    """Per hour, as `time_step_false_alarms`."""
