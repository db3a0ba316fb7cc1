#!/usr/bin/env bash
# What steeple-cloudwatch and the log's Elasticsearch output talk to: moto (CloudWatch and its logs; with botocore, whose
# signatures ours are compared to), a server that speaks Elasticsearch's REST API, and rsyslog with its Elasticsearch output.
# What is there already stays.
set -euo pipefail
: "${STEEPLE_PEERS_DIR:?where to put programs that are not Debian packages}"

missing=()
for package in rsyslog rsyslog-elasticsearch; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ "${#missing[@]}" -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

install() { # directory, packages
  local venv="$STEEPLE_PEERS_DIR/$1" stamp
  stamp="$venv/.complete-$(printf '%s' "${*:2}" | cksum | cut -d ' ' -f 1)"
  [ -e "$stamp" ] && return
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
  touch "$stamp"
}
mkdir -p "$STEEPLE_PEERS_DIR"
install moto 'moto[server]==5.2.5' boto3
install noida noida-db==0.2.3
# The server itself: the program of that name in `bin` starts it and stays in between.
(cd "$STEEPLE_PEERS_DIR/noida/bin" && chmod +x ../lib/python3*/site-packages/noida_db/noida-db &&
  ln -sf ../lib/python3*/site-packages/noida_db/noida-db noida-server)
