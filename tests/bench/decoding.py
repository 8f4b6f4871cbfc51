"""Speed of the pure part: decoding, files, objects. One core, nothing but memory and the page cache."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from protocol import ApxReader, ReadoutBlock, StreamDecoder, apx_open
from protocol.hit import HitTable
from tests.bench.figures import Effort, Figure
from tests.bench.streams import READOUT_BYTES, busy_block, dense_block, write_file

DECODING = "≥ 5 Mhits/s, ≥ 40 MB/s"
RECORDINGS = ("20250723_092534_data.apx", "threshold_40mV_20250722-094253.apx")
PUBLIC_PACKAGE = "the public package, elsewhere: 0.041 Mhits/s, 0.5 MB/s"


def decoding(effort: Effort) -> Iterator[Figure]:
    """A GECCO stream of random hit bytes, with and without idles and padding, chips known and not."""
    count = effort.size(1_000_000, 20_000)
    for chips, idles, known, padded in (
        (1, 0, True, False),
        (4, 0, True, False),
        (4, 2, True, False),
        (4, 0, False, False),
        (4, 8, False, False),
        (1, 0, True, True),
        (4, 2, False, True),
    ):
        block = (busy_block if padded else dense_block)(count, chips, idles)
        found = len(decoded(block, chips if known else None))
        seconds = effort.median_s(lambda: decoded(block, chips if known else None))  # noqa: B023 - used up at once
        between = (f", {idles} idles between" if idles else "") + (", padding inside" if padded else "")
        yield Figure(
            f"decoding, {chips} chip{'s' if chips > 1 else ''}{'' if known else ' (not known)'}{between}",
            {"Mhits/s": found / seconds / 1e6, "MB/s": len(block.data) / seconds / 1e6},
            DECODING,
            "" if found == count else f"{found} of {count} hits",
        )


def decoded(block: ReadoutBlock, chips: int | None) -> HitTable:
    """The hits of a block."""
    return StreamDecoder(chips, full_readout_bytes=READOUT_BYTES).decode(block)


def small_batches(effort: Effort) -> Iterator[Figure]:
    """What the publisher does all day at low rates: few readouts with few hits at a time."""
    count = effort.size(3000, 50)
    for hits in (9, 0):
        block = dense_block(hits, 1, 8) if hits else ReadoutBlock.from_columns([b"\xbc" * 40], [0], [0])

        def decode_each(block: ReadoutBlock = block) -> None:
            decoder = StreamDecoder(1, full_readout_bytes=READOUT_BYTES)
            for _ in range(count):
                decoder.decode(block)

        seconds = effort.median_s(decode_each)
        yield Figure(f"decoding batches of {hits} hits", {"µs each": 1e6 * seconds / count})


def recordings(effort: Effort, folder: Path | None) -> Iterator[Figure]:
    """The real recordings, as they are, and repeated into a file of some megabytes."""
    if folder is None:
        yield Figure("recorded files", {}, note="no recordings: set ASTROPIX_DATA")
        return
    with TemporaryDirectory(prefix="bench-") as temporary:
        for name in RECORDINGS:
            times = effort.size(100, 2)
            path = _repeated(folder / name, times, Path(temporary) / name)
            for what, file in ((name, folder / name), (f"the same {times} times", path)):
                hits = decode_file(file)
                seconds = effort.median_s(lambda: decode_file(file))  # noqa: B023 - used up at once
                yield Figure(
                    f"{what}: read and decode",
                    {"Mhits/s": hits / seconds / 1e6, "ms": 1e3 * seconds},
                    note=f"{hits} hits, {file.stat().st_size / 1e6:.2g} MB",
                )


def decode_file(path: Path) -> int:
    """Read a file the fast way; number of its hits."""
    with ApxReader(path) as reader:
        decoder = reader.header.decoder()
        return sum(len(decoder.decode(block)) for block in reader.blocks()) + len(decoder.flush())


def _repeated(source: Path, times: int, target: Path) -> Path:
    content = source.read_bytes()
    with ApxReader(source) as reader:
        header = reader.consumed_bytes
    target.write_bytes(content[:header] + times * content[header:])
    return target


def objects(effort: Effort) -> Iterator[Figure]:
    """The interface of the public package: a loop over readouts, a list of hits from each."""
    with TemporaryDirectory(prefix="bench-") as temporary:
        for what, count, idles in (("full readouts", 50_000, 0), ("a hit a readout", 5_000, READOUT_BYTES - 8)):
            count = effort.size(count, 500)
            path = write_file(Path(temporary) / "objects.apx", dense_block(count, 1, idles), 1)
            seconds = effort.median_s(lambda: loop_over(path))  # noqa: B023 - used up at once
            values = {"Mhits/s": count / seconds / 1e6, "MB/s": path.stat().st_size / seconds / 1e6}
            yield Figure(f"one object a hit, {what}", values, note=PUBLIC_PACKAGE)


def loop_over(path: Path) -> int:
    """The loop as the users of the public package write it; number of hits."""
    number = 0
    with apx_open(path) as file:
        extra_bytes = None
        for readout in file:
            number += len(readout.decode(extra_bytes))
            extra_bytes = readout.extra_bytes()
    return number


def records(effort: Effort) -> Iterator[Figure]:
    """From a file to blocks of readouts, not decoded."""
    with TemporaryDirectory(prefix="bench-") as temporary:
        for what, count, size in (("full", 2_000_000, READOUT_BYTES), ("of 24 bytes", 300_000, 24)):
            block = dense_block(effort.size(count, 5_000), 1, readout_bytes=size)
            path = write_file(Path(temporary) / "records.apx", block, 1, size)
            seconds = effort.median_s(lambda: read_file(path))  # noqa: B023 - used up at once
            yield Figure(
                f"reading a file of readouts, {what}",
                {"Mreadouts/s": len(block) / seconds / 1e6, "MB/s": path.stat().st_size / seconds / 1e6},
            )


def read_file(path: Path) -> int:
    """Number of the readouts of a file."""
    with ApxReader(path) as reader:
        return sum(len(block) for block in reader.blocks())
