"""The benchmark of the GPU tier: one run on a GPU machine, one record."""
