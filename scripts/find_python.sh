#!/usr/bin/env bash
# Prints the newest of the Pythons that the ROS wheels exist for (3.11 to 3.14), preferring the one called python3.
set -euo pipefail

suits() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}

for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if suits "$candidate"; then
        command -v "$candidate"
        exit 0
    fi
done
echo "vla_ros needs Python 3.11 to 3.14; found: $(${PYTHON:-python3} --version 2>&1 | head -1)." \
    "Install one (Debian: apt-get install python3.11 python3.11-venv) or name it: make setup PYTHON=/path/to/python3.11" >&2
exit 1
