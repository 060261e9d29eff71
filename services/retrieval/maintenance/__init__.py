"""Background work on the index and the delta: compaction, rebuilds, audits, recall."""
