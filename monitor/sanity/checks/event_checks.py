"""The checks that events trigger (a message missed, a hit that cannot be), with their limits and the reasons for these.

`monitor.sanity.live` and `monitor.sanity.recorded` follow the events and say what was noticed.
"""

from monitor.sanity.check import Check, Limit
from protocol.wire.alarms import AlarmLevel

OK, WARNING, CRITICAL = AlarmLevel


def _event(name: str, level: AlarmLevel, what: str, advice: str, *limits: Limit, files_only: bool = False) -> Check:
    # An event is over in a moment, and often not alone: so the alarm lasts ten seconds after the last one.
    return Check(name, what, level, advice, None, limits, in_a_row=1, good_in_a_row=10, files_only=files_only)


# ---- the stream
SEQUENCE_GAP = _event(
    "sequence_gap",
    WARNING,
    "messages that were published and did not arrive here",
    "this computer or its network is too slow for the stream; the files are complete",
)
MISSED_READOUTS = _event(
    "missed_readouts",
    CRITICAL,
    "readouts of the run that no message brought",
    "the hits are in the run's files; find out why messages were lost (load, network, publisher killed)",
)
RUN_TOTALS = _event(
    "run_totals",
    CRITICAL,
    "hits received over a whole run differ from those the publisher decoded",
    "trust the files, not the stream, for this run; report it, losses should have been seen before",
)
DUPLICATES = _event("duplicates", OK, "hits that came twice; counted once", "nothing to do")
PUBLISHER_RESTART = _event(
    "publisher_restart", OK, "another publisher took over", "nothing to do, unless it happens often: see the log"
)
JOINED_LATE = _event(
    "joined_late", OK, "a run that was under way when we joined", "apx-sanity --history checks the whole run"
)
MALFORMED = _event(
    "malformed",
    WARNING,
    "messages that are none of ours, or contradict themselves",
    "check that --connect names a stream of astropix-daq, of the same version",
)
SILENCE = _event(
    "silence",
    WARNING,
    "no state was published for a while",
    "is the daemon running (daqctl status), is the network up, is the address right?",
    # The state is published once a second; five in a row missing is no accident.
    Limit("max_s", 5.0, "seconds without a state"),
)
NO_HITS = _event(
    "no_hits",
    WARNING,
    "no hits for a while in a running run",
    "beam off? threshold too high? else check board and bias voltage",
    Limit("max_s", 60.0, "seconds without hits in a running run; longer where hits are rare"),  # as for `TIME_STEP`
    Limit("false_alarms_per_hour", 1e-3, "most, by chance, per hour of a running run"),
)
DAEMON_STATE = _event(
    "daemon_state", CRITICAL, "the daemon is in error, or is recovering its board", "daqctl status says more"
)
DAEMON_LOG = _event("daemon_log", WARNING, "the daemon logged an error", "see the daemon's log around that time")
RUN_GAPS = _event(
    "run_gaps",
    WARNING,
    "stretches of a run without data: the board was lost, or the daemon",
    "look at the times and reasons in the run's record; check cable and power",
)
RUN_STATE = _event(
    "run_state", WARNING, "a run that failed or was interrupted", "the reason is in the run's record and in the log"
)

# ---- the bytes
LEDGER_BALANCE = _event(
    "ledger_balance",
    CRITICAL,
    "the classes of bytes do not add up to the bytes read",
    "a bug in the decoder: keep the file and report it",
)
ORPHAN_BYTES = _event(
    "orphan_bytes",
    WARNING,
    "bytes outside any hit that are neither idle nor padding",
    "garbled transfers: lower the SPI clock, check cables; is the number of chips right?",
    # The bench recordings have none; one garbled hit of 8 bytes in 1000 hits is worth a look.
    Limit("max_fraction", 1e-3, "of a run's bytes, those outside any hit", most=1),
)
DROPPED_HITS = _event(
    "dropped_hits",
    WARNING,
    "hits that were begun and not completed",
    "one is cut by the end of a run; more were lost between chip and board: lower the SPI clock, check cables",
    # The bench recordings have none.
    Limit("max_fraction", 1e-3, "of a run's hits, those begun and not completed", most=1),
)
RESTORED_HITS = _event(
    "restored_hits",
    WARNING,
    "hits whose last bytes were taken for padding, and put back",
    "a few are normal; many say that bytes are lost at the end of readouts",
    # A hit has to end in 0xFF (1 in 256) exactly at the end of the readout for that: more than 1 in 100 says that bytes
    # are lost there.
    Limit("max_fraction", 1e-2, "of a run's hits, those whose end was taken for padding", most=1),
)

# ---- the hits
IMPOSSIBLE_ADDRESS = _event(
    "impossible_address",
    WARNING,
    "hits that name a chip, row or column that does not exist",
    "check --chips, --rows, --columns; else hits are garbled: look at orphan_bytes and dropped_hits",
)
PAYLOAD = _event(
    "payload", WARNING, "hits whose payload field is not 7", "not AstroPix 4, or hits are garbled on the way"
)
TOT_ZERO = _event(
    "tot_zero",
    WARNING,
    "hits of no duration",
    "noise: raise the threshold; else hits are garbled",
    # Noise shorter than one count of 50 ns does occur; the shortest of 1000 hits recorded on the bench has 400 ns.
    Limit("max_fraction", 1e-3, "of a run's hits, those of no duration", most=1),
)
TOT_RANGE = _event(
    "tot_range",
    WARNING,
    "time over threshold out of range",
    "check --min-tot-us, --max-tot-us; else hits are garbled",
    # No duration at all is for `TOT_ZERO`.
    Limit("min_us", 0.0, "shortest time over threshold in µs"),
    # The counter's longest time, 2^18 - 1 counts of 25 ns where the clock phase counts, too: more cannot come.
    Limit("max_us", 6553.575, "longest time over threshold in µs"),
)

# ---- readouts in order
READOUT_JUMP = _event(
    "readout_jump",
    CRITICAL,
    "readout ids that leave out numbers",
    "readouts are missing: was a file of the run left out, or written to after its end?",
    files_only=True,
)
READOUT_BACK = _event(
    "readout_back", WARNING, "readout ids that repeat or go back", "files in the wrong order, or of different runs?"
)
TIME_BACK = _event(
    "time_back",
    WARNING,
    "time stamps that go back",
    "the computer's clock was set during the run: check chrony or ntpd",
)
TIME_STEP = _event(
    "time_step",
    WARNING,
    "time stamps that jump ahead",
    "no data for so long, or the clock was set; --max-time-step moves the limit",
    # Noise alone gives several readouts a minute; longer steps are lost data or a clock that was set, where the
    # readouts before were not so rare that chance gives such steps.
    Limit("max_s", 60.0, "seconds between readouts with hits; longer where hits are rare"),
    Limit("false_alarms_per_hour", 1e-3, "most, by chance, per hour of a run"),
)
NO_TIME = _event("no_time", WARNING, "readouts without a time stamp", "files from text recordings have none")

# ---- files
CUT_FILE = _event(
    "cut_file",
    WARNING,
    "a file that ends within a record",
    "the writing was interrupted; all readouts before are good",
    files_only=True,
)
UNREADABLE = _event(
    "unreadable",
    CRITICAL,
    "a file that cannot be read, or only in part",
    "restore the file from a copy",
    files_only=True,
)

EVENT_CHECKS = tuple(value for value in list(globals().values()) if isinstance(value, Check))
"""All of them, in the order in which they stand here."""

LASTING = frozenset({SILENCE, NO_HITS, DAEMON_STATE})
"""Those that are wrong for a time, and can say so at any moment; what the others notice has happened."""
