"""Data formats of AstroPix readouts: hits, readouts, files, register protocols, messages. No input or output but files.

What users of the public AstroPix analysis package know is here under the same names; `StreamDecoder` is the fast path.
"""

from protocol.apx import ApxReader, AstroPixBinaryFile, FileHeader, apx_open
from protocol.block import ReadoutBlock
from protocol.decode import StreamDecoder
from protocol.decoding import Decoding, DecodingStatus
from protocol.errors import ApxFormatError, MessageError, ProtocolError
from protocol.hit import HIT_DTYPE, AbstractAstroPixHit, AstroPix4Hit
from protocol.ledger import ByteClass, Ledger
from protocol.readout import AbstractAstroPixReadout, AstroPix4Readout, uid_to_readout_class

__all__ = [
    "HIT_DTYPE",
    "AbstractAstroPixHit",
    "AbstractAstroPixReadout",
    "ApxFormatError",
    "ApxReader",
    "AstroPix4Hit",
    "AstroPix4Readout",
    "AstroPixBinaryFile",
    "ByteClass",
    "Decoding",
    "DecodingStatus",
    "FileHeader",
    "Ledger",
    "MessageError",
    "ProtocolError",
    "ReadoutBlock",
    "StreamDecoder",
    "apx_open",
    "uid_to_readout_class",
]
