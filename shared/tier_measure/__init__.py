"""Measures models on this machine: how long each variant, scale and power takes, what it needs, how good it is."""
