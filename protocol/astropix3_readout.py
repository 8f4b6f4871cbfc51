"""Readouts of AstroPix 3, of both firmwares."""

from protocol.astropix3_hit import AstroPix3Hit, AstroPix3LayerHit
from protocol.layer_readout import LayerFrames
from protocol.readout import AbstractAstroPixReadout


class AstroPix3Readout(AbstractAstroPixReadout):
    """What one read of the board's FIFO returned: AstroPix 3 with the GECCO bench firmware."""

    HIT_CLASS = AstroPix3Hit
    _UID = 3000


class AstroPix3LayerReadout(LayerFrames, AbstractAstroPixReadout):
    """What one read of the A-STEP firmware's readout FIFO returned: AstroPix 3 in layer frames.

    Up to 17 bytes of 0xFF at its end are kept: they may be data.
    """

    HIT_CLASS = AstroPix3LayerHit
    _UID = 3100
