"""A trade from the first wish to the last fen: each step one function over a transaction."""
