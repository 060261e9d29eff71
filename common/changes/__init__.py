"""Catalogue changes, as servers exchange them."""
