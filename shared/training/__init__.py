"""How the demo models were made: the board generator, the detector and its training."""
