"""What the clients of other systems expect, served from the same records."""
