"""Approximate nearest-neighbour indexes: adapters over hnswlib and faiss behind one port."""
