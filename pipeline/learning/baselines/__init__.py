"""Recommenders to compare with: popularity, nearest neighbours, matrix factorisation."""
