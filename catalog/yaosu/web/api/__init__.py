"""The native API, one family of nouns per file; `bodies` is what it takes in."""
