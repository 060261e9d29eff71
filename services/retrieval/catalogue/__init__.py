"""The items that can be found: the release's, and the delta of items changed since."""
