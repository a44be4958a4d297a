#!/usr/bin/env bash
# opentelemetry-instrumentation-aiohttp-server 0.66b1 and -aiohttp-client 0.66b1 with opentelemetry-sdk
# 1.45.1 and aiohttp 3.14.5 (PyPI), Python 3.11. The server's handler runs inside the span but not inside the
# extracted context: the client that it calls sends the same trace on, and no baggage.
# Output seen: traceparent continues: True / baggage: None
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5 opentelemetry-sdk==1.45.1 \
  opentelemetry-instrumentation-aiohttp-server==0.66b1 opentelemetry-instrumentation-aiohttp-client==0.66b1
cat >"$work/hops.py" <<'END'
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor

trace.set_tracer_provider(TracerProvider())
AioHttpClientInstrumentor().instrument()
AioHttpServerInstrumentor().instrument()
import aiohttp
from aiohttp import web

seen = {}


async def last(request):  # the next hop: records the headers that arrive
    seen.update(traceparent=request.headers.get("traceparent"), baggage=request.headers.get("baggage"))
    return web.Response()


async def first(request):
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{request.app['next']}/"):
        return web.Response()


async def serve(handler, **values):
    app = web.Application()
    app.update(values)
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return runner, site._server.sockets[0].getsockname()[1]


async def main():
    second, port = await serve(last)
    runner, entry = await serve(first, next=port)
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    reader, writer = await asyncio.open_connection("127.0.0.1", entry)
    writer.write((f"GET / HTTP/1.1\r\nhost: a\r\ntraceparent: 00-{trace_id}-b7ad6b7169203331-01\r\n"
                  "baggage: session=pr-12\r\nconnection: close\r\n\r\n").encode())
    await reader.read()
    writer.close()
    print("traceparent continues:", trace_id in (seen["traceparent"] or ""))
    print("baggage:", seen["baggage"])
    await runner.cleanup()
    await second.cleanup()


asyncio.run(main())
END
output=$(timeout 60 "$work/venv/bin/python" "$work/hops.py" 2>/dev/null)
printf '%s\n' "$output"
[[ $output == *"traceparent continues: True"* ]] || { echo "changed: the trace does not continue" >&2; exit 1; }
[[ $output == *"baggage: None"* ]] || { echo "changed: baggage is passed on" >&2; exit 1; }
