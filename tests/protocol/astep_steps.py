"""Carrying out sequences of steps to an A-STEP board by hand."""

from collections.abc import Generator
from typing import TypeVar

from protocol.registers.astep import RegisterRead
from protocol.registers.astep_register_map import NEWEST_MAP, RegisterMap
from protocol.registers.astep_sequence import Step
from protocol.registers.steps import Pause

Result = TypeVar("Result")
Answers = dict[int, list[int]]


def told(
    steps: Generator[Step, bytes, Result], answers: Answers | None = None, registers: RegisterMap = NEWEST_MAP
) -> tuple[list[str], Result]:
    """What is sent, in hex, pauses as seconds.

    `answers`: values of the registers at these addresses of `registers`, one a read; the last one stays.
    """
    sent: list[str] = []
    answer = b""
    left = {address: list(values) for address, values in (answers or {}).items()}
    try:
        step = next(steps)
        while True:
            sent.append(f"{step.seconds} s" if isinstance(step, Pause) else step.encode(registers).hex())
            if isinstance(step, RegisterRead):
                values = left.get(registers.address(step.register), [0])
                value = values.pop(0) if len(values) > 1 else values[0]
                answer = value.to_bytes(step.length, "little")
            step = steps.send(answer)
    except StopIteration as end:
        return sent, end.value
