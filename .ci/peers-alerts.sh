#!/usr/bin/env bash
# What steeple-alerts' tests talk to: Alertmanager, Postfix, and aiosmtpd, which rejects on demand.
set -euo pipefail
: "${STEEPLE_PEERS_DIR:?where to put programs that are not Debian packages}"

missing=()
command -v prometheus-alertmanager >/dev/null || missing+=(prometheus-alertmanager)
[ -x /usr/sbin/postfix ] || missing+=(postfix)
command -v openssl >/dev/null || missing+=(openssl)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ "${#missing[@]}" -gt 0 ]; then
  # The tests start what they need, on free loopback ports.
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  command -v debconf-set-selections >/dev/null &&
    echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

venv="$STEEPLE_PEERS_DIR/mail"
if ! "$venv/bin/python" -c 'import aiosmtpd' 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check aiosmtpd==1.4.6
fi
