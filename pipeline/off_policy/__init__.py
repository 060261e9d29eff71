"""What a release would be worth if it were served, estimated from the log of another."""
