"""The gate: may a release become the current one? It is compared with simpler answers, and with the current release."""
