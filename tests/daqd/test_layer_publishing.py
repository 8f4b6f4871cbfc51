"""Layer frames from the files to the monitor: the publisher asks nobody which kind of readouts a run has."""

import json

import numpy as np
import pytest

from daqd.following.feed import ReadoutsRead, RunBegan, RunEnded
from daqd.following.follower import Position
from daqd.publishing.checkpoint import Checkpoint
from daqd.publishing.run_publisher import RunPublisher
from monitor.events import HitBatch
from monitor.state.histograms import HitHistograms
from protocol.block import ReadoutBlock
from protocol.layer_frames import LayerFrameDecoder, encode_frames
from protocol.layer_hit import LAYER_HIT_DTYPE, AstroPix4LayerHit
from protocol.layer_readout import AstroPix4LayerReadout
from protocol.layer_scan import FrameLayout
from protocol.readout import uid_to_readout_class
from protocol.run_record import RunRecord
from protocol.wire.messages import Topic, encode_message
from tests.daqd.published import Sent
from tests.monitor.publishing import StreamReader

LAYOUT = FrameLayout(64, "big")
RECORD = RunRecord.model_validate(
    {
        "daq": "test", "run": 3, "state": "running", "begin_ns": 1, "software": {}, "configuration": {},
        "readout_uid": 4100, "chips": 2, "layers": 3, "timestamp_bits": 64, "timestamp_order": "big",
    }
)  # fmt: skip


def readouts(hits: int = 100, size: int = 50) -> list[AstroPix4LayerReadout]:
    """Readouts that cut frames."""
    numbers = np.arange(hits)
    data = AstroPix4LayerHit.encode(numbers % 2, numbers % 13, numbers % 16, 0, 40 + numbers)
    stream = encode_frames(data, 1 + numbers % 3, numbers, LAYOUT).tobytes()
    chunks = [stream[start : start + size] for start in range(0, len(stream), size)]
    return [AstroPix4LayerReadout(chunk, number, number) for number, chunk in enumerate(chunks)]


def test_hits_reach_the_monitor_with_layer_and_time_stamp() -> None:
    stream = Sent()
    publisher = RunPublisher(stream, max_hits=30)
    publisher.handle(RunBegan(RECORD))
    everything = readouts()
    for start in range(0, len(everything), 7):
        publisher.handle(ReadoutsRead(ReadoutBlock.from_readouts(everything[start : start + 7])))
    publisher.handle(RunEnded(RECORD))
    reader, histograms = StreamReader(), HitHistograms()
    tables = []
    for message in stream.sent:
        event = reader.read(encode_message(message))
        assert event is not None, reader.last_error
        if isinstance(event, HitBatch):
            histograms.fill(event.hits, event.step.new_readouts)
            tables.append(event.hits)
    table = np.concatenate(tables)
    assert table.dtype == LAYER_HIT_DTYPE
    assert table["fpga_timestamp"].tolist() == list(range(100))
    assert table["layer"].tolist() == [1 + number % 3 for number in range(100)]
    assert table["tot_us"].tolist() == [(40 + number) / 40 for number in range(100)]
    assert reader.counters.malformed == 0
    assert histograms.hit_map.sum() == 100
    ended = stream.sent[-1]
    assert ended.topic is Topic.RUN
    assert (ended.run().record.ledger or {})["hits"] == 100


def test_a_killed_publisher_goes_on_with_the_right_decoder() -> None:
    everything = readouts()
    before = LayerFrameDecoder(2, 3, LAYOUT)
    first = before.decode(everything[:10])
    assert before.carried
    checkpoint = Checkpoint(2, Position(3, 0, 99), 4100, before.state(), 10, 1)
    found = Checkpoint.from_json(checkpoint.to_json())
    assert found == checkpoint
    decoder = uid_to_readout_class(found.readout_uid).restore_decoder(found.decoder or {})
    publisher = RunPublisher(Sent(), max_hits=1000)
    publisher.resume(decoder, found.next_readout)
    publisher.handle(RunBegan(RECORD, resumed=True))
    assert publisher.decoder is decoder
    rest = publisher.decoder.decode(everything[10:])
    assert np.concatenate([first, rest])["fpga_timestamp"].tolist() == list(range(100))


def test_a_checkpoint_of_before_there_were_kinds_is_not_one() -> None:
    content = json.loads(Checkpoint(2, None, 4000, None, None, 1).to_json())
    del content["readout_uid"]
    with pytest.raises(ValueError, match="not a checkpoint"):
        Checkpoint.from_json(json.dumps(content))


def test_readouts_of_an_unknown_kind_are_complained_about() -> None:
    stream = Sent()
    publisher = RunPublisher(stream, max_hits=1000)
    publisher.handle(RunBegan(RECORD.model_copy(update={"readout_uid": 77})))
    assert [message.topic for message in stream.sent] == [Topic.LOG, Topic.RUN]
    assert "unknown readout uid 77" in stream.sent[0].log().text
