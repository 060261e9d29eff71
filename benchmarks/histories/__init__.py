"""Rankers of text beside histories: Office Products, whose users are known by what they took before."""
