"""What is understood of a shop's files before anything is built: roles of columns, a mapping, warnings."""
