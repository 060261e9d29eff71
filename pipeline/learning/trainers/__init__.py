"""Trainers of the models, and the cache of trained models."""
