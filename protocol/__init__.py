"""Data formats of AstroPix readouts: hits, readouts, files, register protocols, messages. No input or output but files.

What users of the public AstroPix analysis package know is here under the same names; `StreamDecoder` is the fast path.
"""

from protocol.apx import ApxReader, AstroPixBinaryFile, FileHeader, apx_open
from protocol.astropix3_hit import ASTROPIX3_HIT_DTYPE, ASTROPIX3_LAYER_HIT_DTYPE, AstroPix3Hit, AstroPix3LayerHit
from protocol.astropix3_readout import AstroPix3LayerReadout, AstroPix3Readout
from protocol.block import ReadoutBlock
from protocol.decode import StreamDecoder
from protocol.decoding import Decoding, DecodingStatus
from protocol.errors import ApxFormatError, MessageError, ProtocolError
from protocol.hit import HIT_DTYPE, AbstractAstroPixHit, AstroPix4Hit
from protocol.layer_frames import LayerFrameDecoder
from protocol.layer_hit import LAYER_HIT_DTYPE, AstroPix4LayerHit
from protocol.layer_readout import AstroPix4LayerReadout
from protocol.ledger import ByteClass, Ledger
from protocol.readout import AbstractAstroPixReadout, AstroPix4Readout, uid_to_readout_class

__all__ = [
    "ASTROPIX3_HIT_DTYPE",
    "ASTROPIX3_LAYER_HIT_DTYPE",
    "HIT_DTYPE",
    "LAYER_HIT_DTYPE",
    "AbstractAstroPixHit",
    "AbstractAstroPixReadout",
    "ApxFormatError",
    "ApxReader",
    "AstroPix3Hit",
    "AstroPix3LayerHit",
    "AstroPix3LayerReadout",
    "AstroPix3Readout",
    "AstroPix4Hit",
    "AstroPix4LayerHit",
    "AstroPix4LayerReadout",
    "AstroPix4Readout",
    "AstroPixBinaryFile",
    "ByteClass",
    "Decoding",
    "DecodingStatus",
    "FileHeader",
    "LayerFrameDecoder",
    "Ledger",
    "MessageError",
    "ProtocolError",
    "ReadoutBlock",
    "StreamDecoder",
    "apx_open",
    "uid_to_readout_class",
]
