"""Rules of a shop as data: what is blocked, placed, boosted, required, where and when."""
