#!/bin/sh
# Install the contract and extras, separated by commas, into /venv, without what a server never reads.
# Usage: install-extra EXTRAS [PIP OPTION…]
set -eu
extras=$1
shift
python3 -m venv /venv
/venv/bin/pip install --quiet --constraint constraints.txt "$@" ".[$extras]"
/venv/bin/pip uninstall --quiet --yes pip setuptools
site=$(/venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
# Headers, tests and sources of compiled modules: 60 MB of pyarrow and numpy.
rm -rf "$site"/pyarrow/include "$site"/pyarrow/src "$site"/pyarrow/tests
find "$site" -depth -type d \( -name tests -o -name __pycache__ \) -path '*numpy*' -exec rm -rf {} +
find "$site" -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.h' -o -name '*.hpp' \) -delete
# The root file system is read-only in production: bytecode that is not here is compiled at each start.
/venv/bin/python -m compileall -q "$site" || true
