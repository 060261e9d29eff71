"""The clients' methods for product pages, carts and search boxes."""
