"""The messages of methods other than Retrieve."""
