"""From a request to fused candidates: the sources of a release, asked and merged."""
