#!/usr/bin/env bash
# Installs what pip cannot bring, and only what is missing: EGL with a software driver for the simulator's cameras, venv.
set -euo pipefail
python=${1:-python3}

has_library() { { ldconfig -p 2>/dev/null || /sbin/ldconfig -p; } | grep -q "$1"; }
has_file() { compgen -G "$1" >/dev/null; }
has_egl() {
    has_library 'libEGL\.so\.1' || return 1
    has_library 'libEGL_nvidia\.so' && return 0
    has_library 'libEGL_mesa\.so' && has_file '/usr/lib*/*/dri/*swrast*'
}

missing=()
has_egl || missing+=(libegl1 libgl1-mesa-dri)
"$python" -c 'import ensurepip' 2>/dev/null ||
    missing+=("python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv")
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null && sudo -n true 2>/dev/null && as_root=(sudo -n)
fi
if command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || [ ${#as_root[@]} -gt 0 ]; }; then
    echo "installing system packages: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    exit 0
fi
echo "warning: these system packages are missing and cannot be installed from here: ${missing[*]}" >&2
echo "         Debian and Ubuntu: sudo apt-get install ${missing[*]}; elsewhere: EGL and Mesa's software driver." >&2
echo "         Without them the simulator cannot draw its cameras; 'vla-ros doctor' checks again." >&2
