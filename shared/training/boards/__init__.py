"""Circuit boards with known defects, drawn from a seed with numpy and Pillow alone."""

from training.boards.board import Board, make_board
from training.boards.camera import LOOKS, Look
from training.boards.defects import LABELS

__all__ = ["LABELS", "LOOKS", "Board", "Look", "make_board"]
