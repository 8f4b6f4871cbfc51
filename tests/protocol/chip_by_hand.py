"""What the facts say about chips, cards and injection, worked out plainly, without the code under test."""

import re

VALUE = re.compile(r"^\s+(\w+):\s*\[(\d+), (\w+)\]", re.MULTILINE)


def values_of(text: str, group: str) -> list[tuple[str, int, int]]:
    """(name, bits, value) of a group of a YAML file that has one value a line."""
    body = re.search(rf"^ +{group}:\n((?:.*\[.*\n?)+)", text, re.MULTILINE)
    assert body is not None
    return [(name, int(bits), int(value, 0)) for name, bits, value in VALUE.findall(body[1])]


def chip_bits(text: str, replaced: dict[str, int] | None = None) -> str:
    """The bits of one chip as they are sent: "0" and "1"."""
    bits = ""
    for group in ("digitalconfig", "biasconfig", "idacs", "vdacs", "recconfig"):
        for name, width, given in values_of(text, group):
            value = (replaced or {}).get(f"{group}.{name}", given)
            field = format(value, "b").rjust(width, "0")
            assert len(field) == width
            bits += "".join(reversed(field)) if group == "vdacs" else field
    return "".join(reversed(bits))


def tdac_bits(text: str, row: str) -> str:
    values = {name: (width, value) for name, width, value in values_of(text, "tdac_config")}
    width, value = values[row]
    return "".join(reversed(format(value, "b").rjust(width, "0")))


def chip_port(bits: str, load: int) -> bytes:
    """The bytes for register 0x00."""
    port = []
    for bit in bits:
        p = 4 if bit == "1" else 0
        for state in (p, p | 1, p, p | 2, p):
            port += [state] * 8
    for state in (0, load, 0):
        port += [state] * 80
    return bytes(port)


def card_port(bits: str) -> bytes:
    """The bytes for register 0x0C."""
    port = []
    for bit in bits:
        p = 2 if bit == "1" else 0
        port += [p, p | 1, p]
    port += [4, 0]
    port += [1, 0] * 8
    port += [4, 0]
    return b"".join(bytes([state]) * 8 for state in port)


def card_bits(codes: list[int], slot: int) -> str:
    """DAC codes, the last one first, 14 bits and 00 each, and the slot's bit, slot 1 the highest."""
    return "".join(format(code, "014b") + "00" for code in reversed(codes)) + "".join(
        "1" if place == slot else "0" for place in range(1, 9)
    )


def injection_writes(output: int, period: int, cycle: int, delay: int, divider: int, pulses: int) -> list[str]:
    """Requests that set the pattern generator, in hex."""
    settings = [*enumerate((1, 3, 0, 0, 0, 0, 0, 0)), (8, period), (9, 0x14)]
    for address, value in ((10, cycle), (12, delay), (14, divider)):
        settings += [(address, value // 256), (address + 1, value % 256)]
    settings.append((7, pulses))
    writes = [f"01050001{output:02x}"]
    for address, value in settings:
        writes += [f"01060001{address:02x}", f"01070001{value:02x}", "0104000101", "0104000100"]
    return writes
