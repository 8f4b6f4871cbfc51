"""All checks by name: what each looks for, how bad it is, and what to do. `apx-sanity --list` prints this table."""

from monitor.sanity.checks.findings import CheckInfo, Level

INFO, WARNING, CRITICAL = Level.INFO, Level.WARNING, Level.CRITICAL

# ---- the stream
SEQUENCE_GAP = CheckInfo(
    "sequence_gap",
    WARNING,
    "messages that were published and did not arrive here",
    "this computer or its network is too slow for the stream; the files are complete",
)
MISSED_READOUTS = CheckInfo(
    "missed_readouts",
    CRITICAL,
    "readouts of the run that no message brought",
    "the hits are in the run's files; find out why messages were lost (load, network, publisher killed)",
)
RUN_TOTALS = CheckInfo(
    "run_totals",
    CRITICAL,
    "hits received over a whole run differ from those the publisher decoded",
    "trust the files, not the stream, for this run; report it, losses should have been seen before",
)
DUPLICATES = CheckInfo("duplicates", INFO, "hits that came twice; counted once", "nothing to do")
PUBLISHER_RESTART = CheckInfo(
    "publisher_restart", INFO, "another publisher took over", "nothing to do, unless it happens often: see the log"
)
JOINED_LATE = CheckInfo(
    "joined_late", INFO, "a run that was under way when we joined", "apx-sanity --history checks the whole run"
)
MALFORMED = CheckInfo(
    "malformed",
    WARNING,
    "messages that are none of ours, or contradict themselves",
    "check that --connect names a stream of astropix-daq, of the same version",
)
SILENCE = CheckInfo(
    "silence",
    WARNING,
    "no state was published for a while",
    "is the daemon running (daqctl status), is the network up, is the address right?",
)
NO_HITS = CheckInfo(
    "no_hits",
    WARNING,
    "no hits for a while in a running run",
    "beam off? threshold too high? else check board and bias voltage",
)
DAEMON_STATE = CheckInfo(
    "daemon_state", CRITICAL, "the daemon is in error, or is recovering its board", "daqctl status says more"
)
DAEMON_LOG = CheckInfo("daemon_log", WARNING, "the daemon logged an error", "see the daemon's log around that time")
RUN_GAPS = CheckInfo(
    "run_gaps",
    WARNING,
    "stretches of a run without data: the board was lost, or the daemon",
    "look at the times and reasons in the run's record; check cable and power",
)
RUN_STATE = CheckInfo(
    "run_state", WARNING, "a run that failed or was interrupted", "the reason is in the run's record and in the log"
)

# ---- the bytes
LEDGER_BALANCE = CheckInfo(
    "ledger_balance",
    CRITICAL,
    "the classes of bytes do not add up to the bytes read",
    "a bug in the decoder: keep the file and report it",
)
ORPHAN_BYTES = CheckInfo(
    "orphan_bytes",
    WARNING,
    "bytes outside any hit that are neither idle nor padding",
    "garbled transfers: lower the SPI clock, check cables; is the number of chips right?",
)
DROPPED_HITS = CheckInfo(
    "dropped_hits",
    WARNING,
    "hits that were begun and not completed",
    "one is cut by the end of a run; more were lost between chip and board: lower the SPI clock, check cables",
)
RESTORED_HITS = CheckInfo(
    "restored_hits",
    WARNING,
    "hits whose last bytes were taken for padding, and put back",
    "a few are normal; many say that bytes are lost at the end of readouts",
)

# ---- the hits
IMPOSSIBLE_ADDRESS = CheckInfo(
    "impossible_address",
    WARNING,
    "hits that name a chip, row or column that does not exist",
    "check --chips, --rows, --columns; else hits are garbled: look at orphan_bytes and dropped_hits",
)
PAYLOAD = CheckInfo(
    "payload", WARNING, "hits whose payload field is not 7", "not AstroPix 4, or hits are garbled on the way"
)
TOT_ZERO = CheckInfo("tot_zero", WARNING, "hits of no duration", "noise: raise the threshold; else hits are garbled")
TOT_RANGE = CheckInfo(
    "tot_range", WARNING, "time over threshold out of range", "check --min-tot-us, --max-tot-us; else hits are garbled"
)

# ---- readouts in order
READOUT_JUMP = CheckInfo(
    "readout_jump",
    CRITICAL,
    "readout ids that leave out numbers",
    "readouts are missing: was a file of the run left out, or written to after its end?",
)
READOUT_BACK = CheckInfo(
    "readout_back", WARNING, "readout ids that repeat or go back", "files in the wrong order, or of different runs?"
)
TIME_BACK = CheckInfo(
    "time_back",
    WARNING,
    "time stamps that go back",
    "the computer's clock was set during the run: check chrony or ntpd",
)
TIME_STEP = CheckInfo(
    "time_step",
    WARNING,
    "time stamps that jump ahead",
    "no data for so long, or the clock was set; --max-time-step moves the limit",
)
NO_TIME = CheckInfo("no_time", WARNING, "readouts without a time stamp", "files from text recordings have none")

# ---- files
CUT_FILE = CheckInfo(
    "cut_file",
    WARNING,
    "a file that ends within a record",
    "the writing was interrupted; all readouts before are good",
)
UNREADABLE = CheckInfo(
    "unreadable", CRITICAL, "a file that cannot be read, or only in part", "restore the file from a copy"
)

ALL = (
    SEQUENCE_GAP,
    MISSED_READOUTS,
    RUN_TOTALS,
    DUPLICATES,
    PUBLISHER_RESTART,
    JOINED_LATE,
    MALFORMED,
    SILENCE,
    NO_HITS,
    DAEMON_STATE,
    DAEMON_LOG,
    RUN_GAPS,
    RUN_STATE,
    LEDGER_BALANCE,
    ORPHAN_BYTES,
    DROPPED_HITS,
    RESTORED_HITS,
    IMPOSSIBLE_ADDRESS,
    PAYLOAD,
    TOT_ZERO,
    TOT_RANGE,
    READOUT_JUMP,
    READOUT_BACK,
    TIME_BACK,
    TIME_STEP,
    NO_TIME,
    CUT_FILE,
    UNREADABLE,
)
