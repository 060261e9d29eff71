"""Certificates and tokens of tests."""
