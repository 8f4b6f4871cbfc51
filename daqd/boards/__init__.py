"""What is known of each kind of board: how it is brought to data, read, and left safe."""

from daqd.boards.board import Board, BoardStatus, RawReadout
from daqd.boards.factory import open_board

__all__ = ["Board", "BoardStatus", "RawReadout", "open_board"]
