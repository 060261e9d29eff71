"""The parts of a release, and how they are written."""
