#!/bin/sh
# The healthcare stream on the Postfix host: shows the plan, and applies it when given the hash of the plan you read.
#
#   infra/postfix/hc_stream_setup.sh              show what would change; changes nothing
#   infra/postfix/hc_stream_setup.sh PLAN_HASH    apply exactly that plan; refuses if anything moved since
#
# Everything is rendered from infra/estate.toml (copies for review: infra/postfix/etc). Trucking's main.cf, transport
# maps and queues, and the warmup stamp, are never touched.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
dualstream=$(command -v dualstream || echo "$here/.venv/bin/dualstream")
export DUALSTREAM_ENV="${DUALSTREAM_ENV:-production}"
if [ $# -eq 0 ]; then
    exec "$dualstream" mta plan
fi
exec "$dualstream" mta apply --hash "$1"
