#!/usr/bin/env bash
# ddtrace 4.16.0 (PyPI), Python 3.11: one member with an empty value, which W3C Baggage allows
# (value = *baggage-octet), makes the extractor drop the whole header, every other member included.
# Output seen: without: {'session': 'pr-12', 'tenant': 'x'} / with: {}
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ddtrace==4.16.0
cat >"$work/hop.py" <<'END'
import os, sys

os.environ.update(DD_TRACE_ENABLED="true", DD_INSTRUMENTATION_TELEMETRY_ENABLED="false", DD_REMOTE_CONFIGURATION_ENABLED="false")
from ddtrace.propagation.http import HTTPPropagator

context = HTTPPropagator.extract({"baggage": sys.argv[1]})
print(dict(sorted(context.get_all_baggage_items().items())))
END
hop() { "$work/venv/bin/python" "$work/hop.py" "$1" 2>/dev/null; }
without=$(hop 'tenant=x,session=pr-12') with=$(hop 'tenant=,session=pr-12')
printf 'without: %s\nwith: %s\n' "$without" "$with"
[ "$without" = "{'session': 'pr-12', 'tenant': 'x'}" ] || { echo "changed: members do not cross" >&2; exit 1; }
[ "$with" = '{}' ] || { echo "changed: an empty member does not drop the header any more" >&2; exit 1; }
