"""Traces of calls through the three servers, by OpenTelemetry if it is turned on."""
