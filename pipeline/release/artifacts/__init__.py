"""Files of a release: catalogue, vectors, title words; and the folder that they are staged in."""
