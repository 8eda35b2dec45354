"""The container tier: 4K pictures on several CPU threads, tabular rows besides."""
