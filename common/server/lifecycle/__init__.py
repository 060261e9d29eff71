"""How a gRPC server listens, and goes on listening."""
