"""Which calls are let in, and how much time each has for reading."""
