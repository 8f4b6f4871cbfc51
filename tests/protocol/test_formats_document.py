"""docs/formats.md says what the code does: its tables and examples are read and run."""

import json
import re
from pathlib import Path

import pytest

from apx.cli import main
from protocol.apx import ApxReader
from protocol.block import ReadoutBlock
from protocol.decode import StreamDecoder
from protocol.hit import HIT_DTYPE, AstroPix4Hit, reverse_bit_order
from protocol.ledger import Ledger
from protocol.readout import RECORD_HEAD, AstroPix4Readout
from protocol.registers.gecco import ReadRequest, Request, RequestParser, WriteRequest
from protocol.run_record import RunRecord

DOCUMENT = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
SHORT = {"A": "e05042030620d701", "B": "e05041130620d701"}


def section(title: str) -> str:
    match = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert match, f"no section {title}"
    return match[2]


def tables(text: str) -> list[list[list[str]]]:
    """The rows of each table, headings first."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        found.append([rows[0], *rows[2:]])
    return found


def table(title: str, first_heading: str) -> list[list[str]]:
    """The rows below the headings of the table in a section that begins with a heading."""
    (found,) = [rows for rows in tables(section(title)) if rows[0][0] == first_heading]
    assert len(found) > 1
    return found[1:]


def example(name: str) -> str:
    match = re.search(rf"^```\w+ {re.escape(name)}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert match, f"no example {name}"
    return match[1]


def numbers(cell: str) -> list[float]:
    return [float(each) for each in cell.split(",")]


def code(cell: str) -> str:
    return cell.strip("`")


def test_requests_to_the_board() -> None:
    (examples,) = [rows[1:] for rows in tables(section("GECCO registers")) if rows[0] == ["request", "bytes"]]
    assert len(examples) >= 3
    for said, wire in examples:
        request: Request
        if read := re.fullmatch(r"read (\d+) from (\w\w)", said):
            request = ReadRequest(int(read[2], 16), int(read[1]))
        else:
            written = re.fullmatch(r"write (.*) to (\w\w)", said)
            assert written
            request = WriteRequest(int(written[2], 16), bytes.fromhex(written[1]))
        assert request.encode() == bytes.fromhex(code(wire))
        assert RequestParser().feed(bytes.fromhex(code(wire))) == [request]


def test_first_bytes() -> None:
    for chip, byte in [(0, 0xE0), (1, 0xF0), (2, 0xE8), (3, 0xF8), (4, 0xE4), (30, 0xEF)]:
        assert f"`{byte:02x}`" in section("Stream")
        assert AstroPix4Hit.encode(chip, 0, 0, 0, 0)[0, 0] == byte
        assert AstroPix4Hit.first_bytes(chip + 1)[byte]
        assert not AstroPix4Hit.first_bytes(chip or None)[byte] or chip == 0
    assert AstroPix4Hit.first_bytes(None).nonzero()[0].tolist() == list(range(0xE0, 0xFF))


def test_fields_of_a_hit() -> None:
    rows = table("Hit", "field")
    fields = [(code(name), *map(int, re.findall(r"\d+", bits))) for name, bits, _ in rows]
    expected = []
    for field in AstroPix4Hit.LAYOUT.fields:
        last = field.first_bit + field.width - 1
        expected.append((field.name, field.first_bit, last) if field.width > 1 else (field.name, last))
    assert fields == expected


def test_the_bits_of_the_example() -> None:
    text = section("Hit")
    match = re.search(r"For example `(.*?)` is, .*?`(.*?)`:\n\n```\n([01 ]+)\n", text, re.DOTALL)
    assert match
    wire = bytes.fromhex(match[1])
    assert reverse_bit_order(wire) == bytes.fromhex(match[2])
    groups = match[3].split()
    assert "".join(groups) == f"{int.from_bytes(reverse_bit_order(wire)):064b}"
    hit = AstroPix4Hit(reverse_bit_order(wire))
    assert [int(group, 2) for group in groups] == [getattr(hit, field.name) for field in AstroPix4Hit.LAYOUT.fields]


@pytest.mark.parametrize("row", table("Hit", "wire bytes"), ids=lambda row: row[0])
def test_golden_hits(row: list[str]) -> None:
    (heading, *_) = [rows[0] for rows in tables(section("Hit")) if rows[0][0] == "wire bytes"]
    wire = bytes.fromhex(code(row[0]))
    (hit,) = StreamDecoder().decode([AstroPix4Readout(wire, 0, 0)])
    fields: dict[str, int] = {}
    for names, cell in zip(heading[1:], row[1:], strict=True):
        for name, value in zip(names.split(", "), numbers(cell), strict=True):
            assert hit[name] == value
            fields[name] = int(value)
    for unused in ("payload", "tot_us", "ts_coarse1", "ts_fine1", "ts_coarse2", "ts_fine2"):
        del fields[unused]
    assert AstroPix4Hit.encode(**fields).tobytes() == wire


def test_columns_of_the_decoded_table() -> None:
    (rows,) = [rows[1:] for rows in tables(section("Hit")) if rows[0][:2] == ["column", "type"]]
    cells = [(row[0], row[1]) for row in rows] + [(row[3], row[4]) for row in rows]
    assert [(code(name), kind) for name, kind in cells if name] == [
        (name, f"{dtype.kind}{dtype.itemsize}")
        for name, dtype in ((name, HIT_DTYPE[name]) for name in HIT_DTYPE.names or ())
    ]
    assert f"{HIT_DTYPE.itemsize} bytes a row" in section("Hit")


def wire_bytes(text: str) -> bytes:
    return bytes.fromhex("".join(SHORT.get(piece, piece) for piece in text.split()))


RULES = [(None, row) for row in table("Decoding rules", "readouts")]
RULES_OF_FULL_READOUTS = [
    (length, row) for length in (12, 24) for row in table("Decoding rules", f"readouts of {length} bytes")
]


@pytest.mark.parametrize(("full_readout_bytes", "row"), [*RULES, *RULES_OF_FULL_READOUTS], ids=str)
@pytest.mark.parametrize("whole", [True, False], ids=["in one block", "one by one"])
def test_decoding_rules(full_readout_bytes: int | None, row: list[str], whole: bool) -> None:
    readouts = [AstroPix4Readout(wire_bytes(text), number, 0) for number, text in enumerate(code(row[0]).split("/"))]
    decoder = StreamDecoder(full_readout_bytes=full_readout_bytes)
    found = []
    for block in [ReadoutBlock.from_readouts(readouts)] if whole else [[each] for each in readouts]:
        decoded = decoder.examine(block)
        found += zip(decoded.table.tolist(), AstroPix4Hit.LAYOUT.wire(decoded.words), strict=True)
    got = [(hit[2], hit[4], wire.tobytes().hex()) for hit, wire in found]
    expected = []
    for text in filter(None, row[1].split(", ")):
        place, data = text.split(maxsplit=1)
        readout_id, order = place.split(".")
        expected.append((int(readout_id), int(order), SHORT.get(data, data)))
    for hit in decoder.flush():
        # the table of a flush comes without its words; what they were shows in the columns
        readout_id, order, data = expected.pop()
        (same,) = StreamDecoder().decode([AstroPix4Readout(bytes.fromhex(data + "bc"), readout_id, 0)])
        same["decoding_order"] = order
        assert hit.tolist() == same.tolist()
    assert got == expected
    ledger = decoder.ledger
    assert numbers(row[2]) == [
        ledger.idle, ledger.padding, ledger.hit, ledger.carried, ledger.orphan, ledger.dropped
    ]  # fmt: skip
    assert ledger.balanced


def test_counts_of_the_ledger() -> None:
    text = section("Ledger")
    assert all(f"`{name}`" in text for name in Ledger().to_dict())
    assert [code(row[0]) for row in table("Ledger", "count")] == [
        "idle", "padding", "hit", "carried", "orphan", "dropped"
    ]  # fmt: skip


def test_record_head() -> None:
    sizes = [row[0] for row in table("Record", "bytes")]
    assert sum(map(int, sizes[:-1])) == RECORD_HEAD.size


def test_the_example_file_is_read_and_converted(tmp_path: Path) -> None:
    path = tmp_path / "example.apx"
    path.write_bytes(bytes.fromhex(example("example.apx")))
    with ApxReader(path) as reader:
        readouts = sum(len(block) for block in reader.blocks())
        assert reader.leftover_bytes == 0
    assert readouts == 2
    assert main(["convert", str(path), "--format", "csv"]) == 0
    assert path.with_suffix(".csv").read_text() == example("example.csv")


def test_the_example_recording_becomes_the_example_file(tmp_path: Path) -> None:
    path = tmp_path / "example.log"
    path.write_text(example("example.log"))
    assert main(["from-log", str(path)]) == 1, "the odd digit is a finding"
    assert path.with_suffix(".apx").read_bytes() == bytes.fromhex(example("example-log.apx"))


def test_every_key_of_the_run_record_is_explained() -> None:
    text = section("Run record") + section("Ledger")

    def names(schema: dict[str, object]) -> set[str]:
        properties = schema.get("properties", {})
        assert isinstance(properties, dict)
        return set(properties)

    schema = json.loads(json.dumps(RunRecord.model_json_schema()))
    known = names(schema).union(*(names(each) for each in schema["$defs"].values()))
    assert {name for name in known if f"`{name}`" not in text} == set()
    explained = {name for row in table("Run record", "key") for name in re.findall(r"`(\w+)`", row[0])}
    assert explained == names(schema)


def test_links_within_the_document() -> None:
    headings = re.findall(r"^#+ (.*)$", DOCUMENT, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", DOCUMENT)) <= anchors
