"""The GPU tier: the same service with CUDA, for what needs more power than CPU threads have."""
