"""What docs/formats.md says of the A-STEP firmware is what the code does: its tables are read and run."""

import re

import pytest

from protocol import LAYER_HIT_DTYPE, AstroPix4LayerReadout, LayerFrameDecoder
from protocol.registers.astep import RegisterRead, RegisterWrite, Request, RequestParser
from protocol.registers.astep_register_map import NEWEST_MAP, REGISTER_MAPS
from protocol.registers.astep_registers import Register
from tests.protocol.test_formats_document import code, numbers, section, table, tables

F = "0d01070a42c06004eb8078563412"


def test_requests_to_the_board() -> None:
    (examples,) = [rows[1:] for rows in tables(section("A-STEP registers")) if rows[0] == ["request", "bytes"]]
    assert len(examples) >= 5
    for said, wire in examples:
        said, increment = said.removesuffix(", increment"), said.endswith(", increment")
        request: Request
        if read := re.fullmatch(r"read (\d+) from (\w+)", said):
            request = RegisterRead(int(read[2], 16), int(read[1]), increment)
        else:
            written = re.fullmatch(r"write (.*) to (\w+)", said)
            assert written
            request = RegisterWrite(int(written[2], 16), bytes.fromhex(written[1]), increment)
        assert request.encode(NEWEST_MAP) == bytes.fromhex(code(wire))
        assert RequestParser().feed(bytes.fromhex(code(wire))) == [request]


def test_register_maps() -> None:
    (found,) = [rows for rows in tables(section("A-STEP registers")) if len(rows[0]) > 4]
    assert found[0][4:] == [str(registers.since) for registers in REGISTER_MAPS]
    assert {code(row[0]) for row in found[1:]} == {register.name for register in Register}
    for name, firmwares_name, sizes, access, *addresses in found[1:]:
        register = Register[code(name)]
        assert code(firmwares_name) == register.value
        holding = [registers for registers in REGISTER_MAPS if registers.has(register)]
        assert {int(size) for size in sizes.split(", ")} == {registers.size(register) for registers in holding}
        assert addresses == [
            f"`{registers.address(register):02x}`" if registers in holding else "-" for registers in REGISTER_MAPS
        ]
        newest = holding[-1]
        assert access == "r" * newest.readable(register) + "w" * newest.writable(register)


def test_uses_name_registers() -> None:
    names = {register.name.replace(f"LAYER_{layer}", "LAYER_n") for register in Register for layer in range(3)}
    (rows,) = [rows[1:] for rows in tables(section("A-STEP registers")) if rows[0] == ["name", "use"]]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} <= names


def test_columns() -> None:
    assert f"{LAYER_HIT_DTYPE.itemsize} bytes\na row" in section("Layer frames")
    assert (LAYER_HIT_DTYPE["layer"].str, LAYER_HIT_DTYPE["fpga_timestamp"].str) == ("|u1", "<u8")


@pytest.mark.parametrize("row", table("Layer frames", "frame"), ids=lambda row: row[0])
def test_golden_frames(row: list[str]) -> None:
    (heading,) = [rows[0] for rows in tables(section("Layer frames")) if rows[0][0] == "frame"]
    (hit,) = LayerFrameDecoder().decode([AstroPix4LayerReadout(bytes.fromhex(code(row[0])), 0, 0)])
    for names, cell in zip(heading[1:], row[1:], strict=True):
        assert [hit[name] for name in names.split(", ")] == numbers(cell)


@pytest.mark.parametrize("row", table("Layer frames", "readouts"), ids=lambda row: row[0])
@pytest.mark.parametrize("whole", [True, False], ids=["in one block", "one by one"])
def test_rules(row: list[str], whole: bool) -> None:
    texts = code(row[0]).replace("F", F).split("/")
    readouts = [AstroPix4LayerReadout(bytes.fromhex(text), number, 0) for number, text in enumerate(texts)]
    decoder = LayerFrameDecoder(chips=1, layers=3)
    found = []
    for part in [readouts] if whole else [[each] for each in readouts]:
        found += [f"{hit['readout_id']}.{hit['decoding_order']}" for hit in decoder.decode(part)]
    decoder.flush()
    assert ", ".join(found) == row[1]
    ledger = decoder.ledger
    assert numbers(row[2]) == [ledger.padding, ledger.hit, ledger.carried, ledger.orphan, ledger.dropped]
    assert ledger.balanced
