"""An organisation on the market: its people, its rules, what waits for a second person."""
