#!/bin/sh
# Keys and token for docker-compose.yml, below the directory $1: made where they are missing, else left alone.
#
#   daqd/    the daemon's pair, and in clients/ who may read its stream
#   reader/  the pair of page and sanity checker, and the daemon's public key
#   page/    the token that the page wants, of browsers and of Prometheus
#
# and for each further name, NAME/ with a token.
set -eu
cd "$1"
shift

[ -e daqd/daqd.key ] || daqctl keygen daqd --dir daqd
[ -e reader/reader.key ] || daqctl keygen reader --dir reader
mkdir -p daqd/clients
cp reader/reader.key daqd/clients/
cp daqd/daqd.key reader/

for name in page "$@"; do
    if [ ! -e "$name/token" ]; then
        python -c "import secrets; print(secrets.token_urlsafe(24))" > "$name/token.new"
        mv "$name/token.new" "$name/token"
    fi
done
