"""Clients and connections for tests that no gRPC library makes."""
