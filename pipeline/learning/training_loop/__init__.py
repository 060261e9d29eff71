"""The training loop: job, loss, validation, learning curve, processes."""
