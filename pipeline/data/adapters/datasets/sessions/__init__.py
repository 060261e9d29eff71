"""Views, carts and purchases of visits to real shops."""
