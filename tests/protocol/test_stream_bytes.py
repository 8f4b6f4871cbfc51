"""What stands between hits."""

import pytest

from protocol.stream_bytes import strip_padding


@pytest.mark.parametrize("kept", [b"", b"\xbc", b"\xff\x00", b"\xff" * 300 + b"\xbc"], ids=len)
@pytest.mark.parametrize("padding", [0, 1, 255, 256, 257, 512, 2047])
def test_padding_is_stripped_at_the_end_alone(kept: bytes, padding: int) -> None:
    assert strip_padding(kept + b"\xff" * padding) == kept
