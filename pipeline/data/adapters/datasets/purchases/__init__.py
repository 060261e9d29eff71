"""What customers of real shops bought."""
