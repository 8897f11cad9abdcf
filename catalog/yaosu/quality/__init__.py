"""Evidence that a market adds to a report: overlap, manual samples, signed attestations."""
