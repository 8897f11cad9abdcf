"""What anyone can check without trusting the market: log, receipts, witnesses, verification."""
