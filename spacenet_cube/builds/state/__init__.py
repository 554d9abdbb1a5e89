"""The state of a build: its ledger, its lock, what is done and what is published."""
