"""What passes between the market and an exchange, and how the two books are compared."""
