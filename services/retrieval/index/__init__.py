"""Vector search over the release and the delta: exact, hybrid, or by Milvus."""
