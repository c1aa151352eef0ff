"""Everything that a run knows, served on this machine for a person to decide about."""
