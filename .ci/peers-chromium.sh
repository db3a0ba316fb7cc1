#!/usr/bin/env bash
# A real browser, and what drives it: Chromium from Debian, and playwright-core, which downloads no browser.
# Alertmanager with amtool as well, for the files below deploy/.
set -euo pipefail
: "${STEEPLE_PEERS_DIR:?where to put programs that are not Debian packages}"

missing=()
[ -x /usr/bin/chromium ] || missing+=(chromium)
[ -x /usr/bin/prometheus-alertmanager ] || missing+=(prometheus-alertmanager)
command -v node >/dev/null && command -v npm >/dev/null || missing+=(nodejs npm)
if [ "${#missing[@]}" -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

directory="$STEEPLE_PEERS_DIR/chromium"
if [ ! -e "$directory/.complete-1.65.1" ]; then
  mkdir -p "$directory/bin"
  npm install --silent --no-audit --no-fund --prefix "$directory" playwright-core@1.65.1
  # Node with this module, under the name that the tests look for.
  printf '#!/bin/sh\nNODE_PATH="%s/node_modules" exec node "$@"\n' "$directory" >"$directory/bin/node"
  chmod +x "$directory/bin/node"
  touch "$directory/.complete-1.65.1"
fi
