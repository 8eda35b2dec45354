"""The detector for board defects: network, loss, training, export. Needs torch."""
