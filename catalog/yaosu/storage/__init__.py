"""Where the market keeps its word: records and evidence in SQL, bytes by their digest."""
