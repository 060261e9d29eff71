"""One training run: loop, validation, learning curve, processes."""
