"""What callers notice of faults: stalled peers, chaos, long runs, hostile inputs."""
