"""From raw shop data to a dataset."""
