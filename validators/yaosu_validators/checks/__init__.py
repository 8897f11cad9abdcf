"""Our own checks; each registers under a name, as those of others do."""
