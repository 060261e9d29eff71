"""Calls to the replicas of a service: circuit breakers, retries and hedging."""
