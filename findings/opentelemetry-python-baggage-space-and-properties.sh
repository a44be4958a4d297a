#!/usr/bin/env bash
# opentelemetry-api 1.45.1 (PyPI), Python 3.11: the W3C baggage propagator changes values on one hop.
# A percent-encoded space (%20) leaves as `+`, which the standard does not decode as a space, and the
# properties of a member (`;ttl=5`) become part of its value (`%3Bttl%3D5`).
# So a service behind it reads another value than the one that was sent.
# Output seen: space: session=a+b / property: session=pr-12%3Bttl%3D5 / plain: session=pr-12
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-api==1.45.1
cat >"$work/hop.py" <<'END'
import sys
from opentelemetry.baggage.propagation import W3CBaggagePropagator

propagator = W3CBaggagePropagator()
outgoing = {}
propagator.inject(outgoing, context=propagator.extract({"baggage": sys.argv[1]}))
print(outgoing.get("baggage", "nothing"))
END
hop() { "$work/venv/bin/python" "$work/hop.py" "$1"; }
space=$(hop 'session=a%20b') property=$(hop 'session=pr-12;ttl=5') plain=$(hop 'session=pr-12')
printf 'space: %s\nproperty: %s\nplain: %s\n' "$space" "$property" "$plain"
[ "$plain" = session=pr-12 ] || { echo "changed: a plain value does not cross" >&2; exit 1; }
[ "$space" = session=a+b ] || { echo "changed: a space does not leave as + any more" >&2; exit 1; }
[ "$property" = session=pr-12%3Bttl%3D5 ] || { echo "changed: properties are not part of the value any more" >&2; exit 1; }
