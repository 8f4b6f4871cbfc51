"""Parts of updates: what is put in comes out, aligned, in as few bytes as it needs."""

import numpy as np
import pytest

from monitor.web.updates import encode_part
from tests.monitor.web.reading import parts


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([0, 255]), "uint8"),
        (np.array([0, 256]), "uint16"),
        (np.array([1 << 16]), "uint32"),
        (np.array([(1 << 32) + 1]), "float64"),
        (np.zeros(0, np.int64), "uint8"),
        (np.array([1.5, np.nan], np.float32), "float32"),
        (np.array([1.7e12 + 0.25]), "float64"),
        (np.arange(24).reshape(2, 3, 4), "uint8"),
        (np.arange(24, dtype=np.float64).reshape(2, 3, 4).transpose(2, 0, 1), "float64"),
    ],
)
def test_columns_come_out_as_they_were(values: np.ndarray, kind: str) -> None:
    message = encode_part("a", "run", {"text": ["x", "<b>"], "values": values, "again": values}) + encode_part("b")
    first, second = parts(message).values()
    assert (first.source, first.choice, first.columns["text"]) == ("a", "run", ["x", "<b>"])
    assert first.columns["values"].dtype == kind
    np.testing.assert_array_equal(first.columns["values"], values)
    np.testing.assert_array_equal(first.columns["again"], values)
    assert (second.source, second.choice, second.columns, second.about) == ("b", "", {}, {})


def test_texts_of_any_length_keep_the_alignment() -> None:
    for length in range(20):
        message = encode_part("name" * length, "", {"v": np.array([1.0])}, {"text": "ü" * length})
        assert len(message) % 8 == 0
        (part,) = parts(message).values()
        assert part.about == {"text": "ü" * length}
        assert part.columns["v"].tolist() == [1.0]
