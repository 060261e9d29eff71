"""Rankers of text beside histories: Office Products, whose people are known by what they took before."""
