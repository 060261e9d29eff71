"""The messages of methods beside Retrieve."""
