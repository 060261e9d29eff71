"""Logs of impressions, and a simulated shop whose users are known."""
