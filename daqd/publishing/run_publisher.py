"""From the events of a feed to messages: decodes runs and publishes their hits."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from daqd.following.feed import Complaint, FeedEvent, ReadoutsRead, RunBegan, RunEnded, RunInterrupted
from daqd.publishing.stream import Stream
from protocol.block import ReadoutBlock
from protocol.hit import HitTable
from protocol.readout import RECORD_HEAD, RECORD_MARKER, AstroPix4Readout
from protocol.readout_decoder import ReadoutDecoder
from protocol.run_record import RunRecord
from protocol.wire.messages import LogLine, RunEvent, Topic, encode_body
from protocol.wire.packing import describe

_RATE_WINDOW_S = 2.0


class RunPublisher:
    """Decodes one run after the other and publishes it on `stream`.

    `max_hits`: hits in one message, but always whole readouts. `raw`: publish the records, too.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        max_hits: int,
        raw: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._max_hits = max_hits
        self._raw = raw
        self._clock = clock
        self.decoder: ReadoutDecoder = AstroPix4Readout.make_decoder()
        self.readout_uid = AstroPix4Readout.uid()
        self.run: int | None = None
        self.pass_ = 0
        self.next_readout: int | None = None
        self._recent: deque[tuple[float, int]] = deque()

    @property
    def hits_hz(self) -> float:
        """Hits published per second, over the last two."""
        now = self._clock()
        while self._recent and self._recent[0][0] < now - _RATE_WINDOW_S:
            self._recent.popleft()
        return sum(hits for _, hits in self._recent) / _RATE_WINDOW_S

    def resume(self, decoder: ReadoutDecoder, next_readout: int | None) -> None:
        """Take over the run that `RunBegan(resumed=True)` will name, in the middle."""
        self.decoder = decoder
        self.next_readout = next_readout

    def handle(self, event: FeedEvent) -> None:
        """Publish what has happened."""
        match event:
            case RunBegan(record, pass_, resumed):
                self.run, self.pass_ = record.run, pass_
                if resumed:
                    self.readout_uid = record.readout_uid
                else:
                    self._begin(record)
                self._send_run("begin", record)
            case ReadoutsRead(block):
                self._publish(block)
            case RunInterrupted(record):
                self._send_run("gap", record)
            case RunEnded(record):
                self._end(record)
            case Complaint(text):
                self.log("error", text)

    def _begin(self, record: RunRecord) -> None:
        """A decoder for the run's readouts; without one for their kind, no file of the run can be read either."""
        self.next_readout = None
        try:
            self.decoder, self.readout_uid = record.decoder(), record.readout_uid
        except ValueError as error:
            self.decoder, self.readout_uid = AstroPix4Readout.make_decoder(), AstroPix4Readout.uid()
            self.log("error", f"run {record.run} cannot be decoded: {error}")

    def log(self, level: str, text: str) -> None:
        """Publish a line for the operator."""
        line = LogLine.model_validate({"level": level, "text": text})
        self._send(Topic.LOG, encode_body(line))

    def _publish(self, block: ReadoutBlock) -> None:
        if self.next_readout is None:
            self.next_readout = int(block.readout_id[0])
        if self._raw:
            self._send(
                Topic.RAW, _records(block), n=len(block), readouts=(int(block.readout_id[0]), int(block.readout_id[-1]))
            )
        hits = self.decoder.decode(block)
        if len(hits):
            self._send_hits(hits, int(block.readout_id[-1]))

    def _end(self, record: RunRecord) -> None:
        hits = self.decoder.flush()
        if len(hits):
            last = int(hits["readout_id"][-1])
            self.next_readout = min(last, last if self.next_readout is None else self.next_readout)
            self._send_hits(hits, last)
        self._send_run("end", record.model_copy(update={"ledger": self.decoder.ledger.to_dict()}))
        self.run = None

    def _send_hits(self, hits: HitTable, last_readout: int) -> None:
        """Send hits that bring the stream up to `last_readout`."""
        self._recent.append((self._clock(), len(hits)))
        first = last_readout if self.next_readout is None else self.next_readout
        for start, stop in self._cuts(hits):
            # The readouts up to the one that the next message begins with have been told by then.
            last = last_readout if stop == len(hits) else int(hits["readout_id"][stop]) - 1
            part = hits[start:stop]
            self._send(
                Topic.HITS,
                part.view(np.uint8),
                n=len(part),
                readouts=(first, last),
                dtype=describe(part.dtype),
            )
            first = last + 1
        self.next_readout = first

    def _cuts(self, hits: HitTable) -> Iterator[tuple[int, int]]:
        """Slices of at most `max_hits` hits, where a readout has no more than that."""
        if len(hits) <= self._max_hits:
            yield 0, len(hits)
            return
        begins = np.concatenate(([0], np.flatnonzero(np.diff(hits["readout_id"])) + 1, [len(hits)]))
        start = 0
        while start < len(hits):
            within = begins[np.searchsorted(begins, start + self._max_hits, side="right") - 1]
            beyond = begins[np.searchsorted(begins, start, side="right")]
            stop = int(max(within, beyond))
            yield start, stop
            start = stop

    def _send_run(self, event: str, record: RunRecord) -> None:
        self._send(Topic.RUN, encode_body(RunEvent.model_validate({"event": event, "record": record})))

    def _send(self, topic: Topic, payload: Any, **header: Any) -> None:
        self._stream.send(topic, payload, run=self.run, pass_=self.pass_, **header)


def _records(block: ReadoutBlock) -> bytes:
    """The readouts of a block as they stand in the file."""
    pieces: list[bytes] = []
    offsets = block.offsets.tolist()
    for index, (readout_id, timestamp) in enumerate(
        zip(block.readout_id.tolist(), block.timestamp.tolist(), strict=True)
    ):
        data = block.data[offsets[index] : offsets[index + 1]]
        pieces += (RECORD_HEAD.pack(RECORD_MARKER, readout_id, timestamp, len(data)), data)
    return b"".join(pieces)
