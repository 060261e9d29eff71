"""Random inputs for RPCs, the release loader and the preparation of data."""
