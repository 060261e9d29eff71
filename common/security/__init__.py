"""Certificates, callers, signatures: what secures a server, without gRPC."""
