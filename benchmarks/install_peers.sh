#!/usr/bin/env bash
# install_peers.sh: puts the servers that cloudchat is measured beside into build/benchmarks/peers, which git ignores.
# Nothing else on the machine changes, but for an empty folder that Nchan insists on. What cannot be had is said and left
# out; the benchmark does without it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
into=$(realpath --canonicalize-missing ../build/benchmarks/peers)
mkdir -p "$into"
missing=()

# Nchan: Debian's packages of nginx and its module, unpacked and not installed, so that no nginx is started.
nchan() {
    # nginx has its temporary files where it is told; Nchan makes it look in here all the same.
    mkdir -p /var/lib/nginx || return
    [ -e "$into/nginx/usr/lib/nginx/modules/ngx_nchan_module.so" ] && return
    mkdir -p "$into/packages" "$into/nginx"
    (
        cd "$into/packages" || exit
        apt-get download -q nginx libnginx-mod-nchan && exit
        apt-get update -q && apt-get download -q nginx libnginx-mod-nchan
    ) || return
    local package
    for package in "$into"/packages/*.deb; do
        dpkg-deb --extract "$package" "$into/nginx" || return
    done
    ! ldd "$into/nginx/usr/sbin/nginx" "$into/nginx/usr/lib/nginx/modules/ngx_nchan_module.so" | grep 'not found'
}

# Node's peers, and bun, which is a program of its own inside of an npm package.
node() {
    cp peers/package.json "$into/"
    (cd "$into" && npm install --no-package-lock --no-audit --no-fund --loglevel=error)
}

python() {
    [ -x "$into/venv/bin/python" ] || python3 -m venv "$into/venv" || return
    "$into/venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement peers/requirements.txt
}

for one in nchan node python; do
    echo "installing the peers of $one"
    "$one" || missing+=("$one")
done
((${#missing[@]} == 0)) || echo "could not be installed, and will be left out: ${missing[*]}" >&2
