"""Decides which tier a requirement needs; standard library only, measures nothing itself."""
