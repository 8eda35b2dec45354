"""The command line: `tiers serve`, `tiers trial`."""
