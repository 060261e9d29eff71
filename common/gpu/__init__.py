"""What a GPU needs to serve and how it fails: its libraries, its device, the placement of nodes, and CUDA's errors.

Nothing here was run on a GPU: the tests use the wheels without one, and stand-ins for libraries and sessions.
"""
