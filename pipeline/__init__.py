"""The offline part: raw shop data in, a release out, and the proof that it is good."""
