"""One Recommend call: deadline, profile, retrieval, ranking, policy, reasons."""
