"""Where changes of the catalogue come from and are stored: a write-ahead log or a Redis stream."""
