"""What the servers send to observability systems, received for tests."""
