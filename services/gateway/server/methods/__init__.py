"""The messages of methods beside Recommend: read, checked and written."""
