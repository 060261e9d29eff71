"""What the services and the offline part share: settings, errors, telemetry, the release and its parts."""

import os

# gRPC's event engine has threads that read and write sockets and wake the one that feeds the event loop; without it
# that one reads and writes itself (docs/adr/0019-threads-of-the-serving-path.md). gRPC asks once, when it is imported:
# so it is said here, where every program of ours comes by first. What the environment says already goes before.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")
