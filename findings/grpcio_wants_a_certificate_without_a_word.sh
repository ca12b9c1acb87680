#!/usr/bin/env bash
# grpcio 1.85.1: a server that wants client certificates ends the connection without a TLS alert when none comes.
#
# TLS has alerts for it (certificate_required), and the handshake itself succeeds (TLS 1.3). What a client sees is an end
# of the connection with no byte in it, and what gRPC's own client reports is UNAVAILABLE, as if no server were there.
#
# For users of esper-telemetry: `health`, `push`, `tail` and the agent of a run shake hands themselves after such an error
# and say that the collector wants a certificate.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet grpcio==1.85.1
cd "$work"
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>/dev/null
cat > ask.py <<'PROGRAM'
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

certificate, key = Path("cert.pem").read_bytes(), Path("key.pem").read_bytes()
server = grpc.server(ThreadPoolExecutor(2))
credentials = grpc.ssl_server_credentials([(key, certificate)], certificate, require_client_auth=True)
port = server.add_secure_port("localhost:0", credentials)
server.start()
context = ssl.create_default_context(cafile="cert.pem")
context.set_alpn_protocols(["h2"])
with socket.create_connection(("localhost", port), 5) as plain, context.wrap_socket(plain, server_hostname="localhost") as tls:
    tls.settimeout(5)
    version, said = tls.version(), tls.recv(100)
with grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(certificate)) as channel:
    try:
        channel.unary_unary("/test.Stream/One")(b"", timeout=5)
        status = "OK"
    except grpc.RpcError as error:
        status = error.code().name
server.stop(None)
print(f"grpcio {grpc.__version__}: handshake {version}, then {said!r}; gRPC's client: {status}")
sys.exit((version, said, status) != ("TLSv1.3", b"", "UNAVAILABLE") and "changed")
PROGRAM
"$work/venv/bin/python" ask.py
