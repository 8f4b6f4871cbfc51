"""Carrying out sequences of steps to an A-STEP board by hand."""

from collections.abc import Generator
from typing import TypeVar

from protocol.registers.astep import RegisterRead
from protocol.registers.astep_register_map import NEWEST_MAP, RegisterMap
from protocol.registers.astep_registers import Register
from protocol.registers.astep_sequence import Step
from protocol.registers.steps import Pause

Result = TypeVar("Result")
Answers = dict[int, list[int]]


def told(
    steps: Generator[Step, bytes, Result], answers: Answers | None = None, registers: RegisterMap = NEWEST_MAP
) -> tuple[list[str], Result]:
    """What is sent, in hex, pauses as seconds.

    A register that is read byte by byte is shown as one read of all of its bytes. `answers`: values of the registers at
    these addresses of `registers`, one a read; the last one stays. Of the readout FIFO: how many bytes it gives.
    """
    sent: list[str] = []
    answer = b""
    left = {address: list(values) for address, values in (answers or {}).items()}
    value = 0
    rest = 0
    try:
        step = next(steps)
        while True:
            if isinstance(step, RegisterRead) and step.register is not Register.READOUT:
                if not rest:
                    values = left.get(registers.address(step.register), [0])
                    value = values.pop(0) if len(values) > 1 else values[0]
                    size = step.offset + 1 if step.copies else step.length
                    sent.append(RegisterRead(step.register, size, size > 1).encode(registers).hex())
                    rest = size if step.copies else 0
                if step.copies:
                    assert step.offset == rest - 1, "bytes of a register are read from the highest to the lowest"
                    rest = step.offset
                    answer = bytes((value >> 8 * step.offset & 0xFF,)) * step.length
                else:
                    answer = value.to_bytes(step.length, "little")
            else:
                sent.append(f"{step.seconds} s" if isinstance(step, Pause) else step.encode(registers).hex())
                if isinstance(step, RegisterRead):
                    values = left.get(registers.address(step.register), [0])
                    count = values.pop(0) if len(values) > 1 else values[0]
                    answer = (b"\r" * count).ljust(step.length, b"\xff")
            step = steps.send(answer)
    except StopIteration as end:
        return sent, end.value
