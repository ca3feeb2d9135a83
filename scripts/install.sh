#!/usr/bin/env bash
# Fills a venv: install.sh PYTHON [pip arguments]. With the newest releases that fit, or, where LOCKED is set, with the
# very files that were tested, each by its hash (requirements.lock), wherever that lock is for this Python and machine.
set -euo pipefail
python=$1
shift
ros=${ROS_REQUIREMENTS:-requirements-ros.txt} # Jazzy, which the lock is for; Kilted has a file of its own
pip=("$python" -m pip --disable-pip-version-check install --progress-bar off -qq "$@")

fits() { [ "$(sed -n 's/^# for: //p' requirements.lock)" = "$("$python" -c '
import platform, sys
print("python%d.%d" % sys.version_info[:2], platform.system().lower(), platform.machine().lower())')" ]; }

if [ -n "${LOCKED:-}" ] && [ "$ros" = requirements-ros.txt ] && fits; then
    # torch is not in the lock, for its builds differ (CPU, CUDA); what it needs is, but for a CUDA build's own libraries.
    "${pip[@]}" --no-deps --require-hashes -r requirements.lock
    "${pip[@]}" -c constraints.txt torch
    exit 0
fi
[ -z "${LOCKED:-}" ] || echo "requirements.lock is for $(sed -n 's/^# for: //p' requirements.lock);" \
    "this is another Python, machine or ROS 2: the newest releases are installed, not those that were tested"
"${pip[@]}" -c constraints.txt -r requirements.txt -r "$ros" -r requirements-training.txt \
    -r requirements-dev.txt -r requirements-docs.txt
