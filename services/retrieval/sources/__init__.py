"""Candidate sources: each one retrieves items for a user and scores them."""
