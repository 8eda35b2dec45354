"""The command line: `tiers serve`, `tiers trial`, `tiers jobs`, `tiers add`."""
