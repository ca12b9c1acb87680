#!/bin/sh
# Make what a collector with TLS and tokens needs, in the folder that is named: certificate, token, configuration.
#
#   sh examples/collector_tls/prepare.sh server
#   esper-telemetry collect --config server/collector.toml &
#   python examples/collector_tls/trainer.py server
#
# A certificate of your own authority serves as well. The collector has only the hash of the token; the trainer needs
# tls.crt and team.token, by whatever way you hand secrets out.
set -eu
mkdir -p "${1:?name a folder}"
cd "$1"
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=collector \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout tls.key -out tls.crt
openssl rand -hex 32 > team.token
cat > tokens.toml <<TOKENS
[tenant.team]
run_prefix = "team-"            # its runs start so

[[token]]
tenant = "team"
sha256 = "$(tr -d '\n' < team.token | sha256sum | cut -d' ' -f1)"
TOKENS
cat > collector.toml <<'CONFIG'
listen = "localhost:7575"       # paths are relative to this file
dir = "collected"
tls_cert = "tls.crt"
tls_key = "tls.key"
tokens = "tokens.toml"
CONFIG
