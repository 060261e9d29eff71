"""The messages of methods other than Recommend: read, checked and written."""
