"""How bytes get to a board and back: the `Link` seam and what implements it."""
