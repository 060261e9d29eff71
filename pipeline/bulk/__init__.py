"""Work on tables of any size, row by row: on this machine or on many."""
