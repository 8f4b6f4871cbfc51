"""Readouts of the A-STEP firmware: layer frames."""

from typing import Any, ClassVar

from protocol.layer_frames import LayerFrameDecoder, without_padding
from protocol.layer_hit import AbstractLayerHit, AstroPix4LayerHit
from protocol.layer_scan import FrameLayout
from protocol.readout import AbstractAstroPixReadout
from protocol.readout_decoder import ReadoutDecoder
from protocol.readout_description import ReadoutDescription


class LayerFrames:
    """What readouts of layer frames have in common, whatever chips they come from: padding and decoder.

    For a readout class that names a class of layer hits, before `AbstractAstroPixReadout` among its bases.
    """

    HIT_CLASS: ClassVar[type[AbstractLayerHit]]

    @classmethod
    def without_padding(cls, data: bytes) -> bytes:
        """All but the 0xFF at its end that can only be padding."""
        return without_padding(data, cls.HIT_CLASS.LAYOUT.size_bytes)

    @classmethod
    def make_decoder(cls, description: ReadoutDescription | None = None) -> ReadoutDecoder:
        """A decoder for frames as `description` says, with a little-endian time stamp of 32 bits where it does not."""
        known = description or ReadoutDescription()
        layout = FrameLayout(
            known.timestamp_bits or 32, known.timestamp_order or "little", cls.HIT_CLASS.LAYOUT.size_bytes
        )
        return LayerFrameDecoder(known.chips, known.layers, layout, cls.HIT_CLASS)

    @classmethod
    def restore_decoder(cls, state: dict[str, Any]) -> ReadoutDecoder:
        """A decoder that goes on where the one that gave `state` was; `ValueError` where it is not a state."""
        return LayerFrameDecoder.from_state(state, cls.HIT_CLASS)


class AstroPix4LayerReadout(LayerFrames, AbstractAstroPixReadout):
    """What one read of the A-STEP firmware's readout FIFO returned: AstroPix 4 in layer frames.

    Up to 17 bytes of 0xFF at its end are kept: they may be data.
    """

    HIT_CLASS = AstroPix4LayerHit
    _UID = 4100
