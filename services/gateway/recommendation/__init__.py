"""One Recommend call: deadline, both stages, policy, reasons."""
