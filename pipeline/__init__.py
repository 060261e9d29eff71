"""The offline part: raw shop data in, a release out, and the proof that it is good."""

import common  # noqa: F401 - sets the variables that libraries read at their import
