#!/usr/bin/env bash
# What steeple-trace's tests talk to: OpenTelemetry's own Python packages (the protobuf classes that decode what an exporter
# sent, and the list of attribute names), nginx as a proxy between two services, openssl for certificates.
set -euo pipefail
: "${STEEPLE_PEERS_DIR:?where to put programs that are not Debian packages}"

missing=()
[ -x /usr/sbin/nginx ] || missing+=(nginx-light)
command -v openssl >/dev/null || missing+=(openssl)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ "${#missing[@]}" -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

venv="$STEEPLE_PEERS_DIR/otlp"
if ! "$venv/bin/python" -c 'import grpc, opentelemetry.proto.trace.v1.trace_pb2, opentelemetry.semconv' 2>/dev/null; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check \
    opentelemetry-proto==1.45.2 grpcio==1.85.1 opentelemetry-semantic-conventions==0.66b2
fi
