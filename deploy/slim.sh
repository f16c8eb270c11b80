#!/bin/sh
# Remove from a virtual environment what only installs, compiles or tests.   slim.sh /venv
set -eu
libraries=$(echo "$1"/lib/python3*/site-packages)
[ -d "$libraries/torch" ] || "$1"/bin/python -m pip uninstall --quiet --yes setuptools # torch needs it
"$1"/bin/python -m pip uninstall --quiet --yes pip
find "$libraries" -type d -name tests -prune -exec rm -rf {} +
find "$libraries" -not -path "$libraries/torch/*" -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.a' \) -delete
# Arrow's network services: nothing here imports them.
rm -rf "$libraries"/pyarrow/include "$libraries"/pyarrow/src
rm -f "$libraries"/pyarrow/libarrow_flight* "$libraries"/pyarrow/libarrow_python_flight* "$libraries"/pyarrow/_flight*
