"""What services and pipeline share: settings, errors, telemetry, releases and their files."""

import os

# gRPC's own log lines are written by whichever thread meets an error, the event loop's too, and would wait for a pipe
# that nobody reads. What matters to callers is in the statuses, what matters to operators in our log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# Without gRPC's event engine, the thread that feeds the event loop reads and writes sockets itself, and no other thread
# must wake it (docs/adr/0019-threads-of-the-serving-path.md). gRPC reads the variable once, at its import. So it is set
# here, which every program of the project imports first. A value from the environment has precedence.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")

# From version 1.29 on, ONNX Runtime's wheels report their use to their maker: they write events into a file below the
# home folder and send them. The variable is read once, at the import. A shop's servers report to nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
