"""The HTTP side of the playground: the page, its JSON methods, and what protects both."""
