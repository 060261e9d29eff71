"""What customers thought of items: ratings and reviews."""
