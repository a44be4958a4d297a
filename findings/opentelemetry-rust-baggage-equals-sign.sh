#!/usr/bin/env bash
# opentelemetry_sdk 0.33.1 (crates.io): the W3C baggage propagator cuts a value at its first bare `=`.
# W3C Baggage allows `=` (0x3D) in a value: its baggage-octet includes %x3C-5B. Other propagators keep
# it.
# Output seen: extracted: a / escaped: a=b
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat >Cargo.toml <<'END'
[package]
name = "hop"
version = "0.0.0"
edition = "2021"
[dependencies]
opentelemetry = "=0.33.1"
opentelemetry_sdk = "=0.33.1"
END
cat >src/main.rs <<'END'
use std::collections::HashMap;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::propagation::BaggagePropagator;

fn session(header: &str) -> String {
    let carrier = HashMap::from([("baggage".to_string(), header.to_string())]);
    let context = BaggagePropagator::new().extract(&carrier);
    context.baggage().get("session").map_or("nothing".into(), |value| value.to_string())
}

fn main() {
    println!("extracted: {}", session("session=a=b"));
    println!("escaped: {}", session("session=a%3Db"));
}
END
cargo run --quiet 2>build.log >output || { tail -n 20 build.log >&2; exit 1; }
cat output
grep -qx 'extracted: a' output || { echo "changed: the value is not cut at = any more" >&2; exit 1; }
grep -qx 'escaped: a=b' output || { echo "changed: an escaped = does not cross" >&2; exit 1; }
