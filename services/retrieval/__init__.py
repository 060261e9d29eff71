"""The first stage: candidates from several sources, fused, over a live catalogue."""

import os

# Searches run on threads of their own, one a core. OpenBLAS' would come on top, and spin while they wait: at half the
# load that a server can bear they took a third of its processor time. Read when numpy is first imported, which is
# after this in a server.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
