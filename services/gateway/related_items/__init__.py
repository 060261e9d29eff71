"""Items near given items: for product pages and for carts."""
