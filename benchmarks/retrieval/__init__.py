"""Speed, recall and durability of the retrieval service."""
