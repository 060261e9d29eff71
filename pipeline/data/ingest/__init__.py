"""Reading of files and cleaning of rows."""
