"""Reading of tables from files: text in any encoding, Parquet, JSON and Excel."""
