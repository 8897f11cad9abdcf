"""What people are told: saved searches, watches, and the notices that causes leave in inboxes."""
