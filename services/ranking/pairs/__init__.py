"""Token pairs of a user's text and an item's, and the cache of their scores."""
