#!/bin/sh
# A certificate authority of the test, and the site's certificate by it; $1 is the directory to make.
set -eu
mkdir -p "$1"
cd "$1"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=Authority of the test" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" -keyout ca.key -out ca.pem 2>/dev/null
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 20 -subj "/CN=photos.patriark.org" \
    -addext "subjectAltName=DNS:photos.patriark.org" -addext "basicConstraints=critical,CA:FALSE" -CA ca.pem -CAkey ca.key -keyout site.key -out site.pem 2>/dev/null
