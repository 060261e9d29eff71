"""The second stage: a cross-encoder and behavioural features, fused into a calibrated probability."""

import os

# A call's features multiply small matrices. OpenBLAS would divide each product between threads of its own, which spin
# while they wait: for a history of 700 events that took four times the processor time. numpy reads this variable when
# it is first imported, which in a server is after this line.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
