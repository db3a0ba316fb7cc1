#!/usr/bin/env bash
# Grafana's own library for dashboards, which reads ours back, and one for compose files: into a virtual environment below
# $STEEPLE_PEERS_DIR.
set -euo pipefail
: "${STEEPLE_PEERS_DIR:?where to put programs that are not Debian packages}"

venv="$STEEPLE_PEERS_DIR/grafana"
if [ ! -e "$venv/.complete-2" ]; then
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends python3-venv
  fi
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check 'grafana-foundation-sdk==1769699998!10.1.0' 'compose-spec==0.2.1'
  touch "$venv/.complete-2"
fi

# The types of Grafana's schema, and what checks against them.
directory="$STEEPLE_PEERS_DIR/grafana-types"
if [ ! -e "$directory/.complete-1" ]; then
  command -v node >/dev/null && command -v npm >/dev/null || {
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends nodejs npm
  }
  mkdir -p "$directory/bin"
  npm install --silent --no-audit --no-fund --prefix "$directory" @grafana/schema@13.2.3 typescript@7.0.2
  ln -sf ../node_modules/.bin/tsc "$directory/bin/tsc"
  touch "$directory/.complete-1"
fi
