#!/usr/bin/env bash
# Installs what reads our Sentry events: Bugsink, a Sentry-compatible server, and Sentry Relay's own rules.
# Each into a separate virtual environment below $STEEPLE_PEERS_DIR; existing ones stay.
set -euo pipefail
: "${STEEPLE_PEERS_DIR:?where to put programs that are not Debian packages}"

install() { # directory, package
  local venv="$STEEPLE_PEERS_DIR/$1"
  [ -e "$venv/.complete-$2" ] && return
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$2"
  touch "$venv/.complete-$2"
}

if ! python3 -c 'import ensurepip' 2>/dev/null; then
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends python3-venv
fi
mkdir -p "$STEEPLE_PEERS_DIR"
# Pinned: 2.6.2 wants a certifi that not every index has.
install bugsink bugsink==2.6.1
install sentry-relay sentry-relay==0.10.1
