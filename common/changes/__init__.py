"""Changes of items as they are sent between servers."""
