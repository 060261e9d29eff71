"""The first stage: candidates from several sources, fused, over a live catalogue."""

import os

# Searches run on their own threads, one for each core. OpenBLAS's threads would be added to them and spin while they
# wait: at half of a server's maximum load they took a third of its processor time. numpy reads this variable when it is
# first imported, which in a server is after this line.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
