"""Every instrument: loads the tiers over HTTP, judges them by `shared/config/slo.toml`, writes records."""
