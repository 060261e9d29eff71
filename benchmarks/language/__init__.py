"""How well people are understood: misspelled words, and queries in other words or another language."""
