"""`python -m training`: how to make each model again."""

import sys

GUIDE = """\
python -m training.tabular                     the breast-cancer family (a minute)
python -m training.boards --help               circuit boards with known defects, as pictures and COCO annotations
python -m training.detector.train --help       the board-defects detectors (needs PyTorch; hours on a CPU)
python -m training.detector.export --help      a trained detector to ONNX
python -m training.detector.quantise --help    its int8 variant
python -m training.detector.half --help        its float16 variant, for GPUs
python -m training.evaluate --help             a detector's accuracy on boards it never saw
make compare-sahi                              the same through SAHI's tiling, and how long both take
"""

if __name__ == "__main__":
    sys.stdout.write(GUIDE)
