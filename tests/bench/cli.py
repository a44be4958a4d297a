"""The command line beside kubectl, on the test cluster: the same pod created and
waited for, the same objects listed, the same things deleted.

Both take turns, round after round; what is printed is the median and, in
brackets, the lowest and the highest, in seconds.
"""

import base64
import http.client
import json
import os
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

KUBECTL = ["kubectl"]
MIRRORD = [os.environ["MIRRORD"]]
rounds = int(os.environ.get("ROUNDS", "5"))
namespace = "mirrord-bench"


def run(words, text=None, variables=None):
    environment = {**os.environ, **(variables or {})}
    begun = time.monotonic()
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    out, errors = process.communicate(text.encode() if text else None)
    took = time.monotonic() - begun
    if process.returncode:
        sys.exit(f"{' '.join(words)}: {errors.decode()}")
    return took, out.decode()


def kubectl(*words, text=None):
    return run([*KUBECTL, "-n", namespace, *words], text)


def mirrord(*words, mode="off"):
    return run([*MIRRORD, "preview", *words], variables={"MIRRORD_AGENT_TCP_STEAL_TRAFFIC": mode})


def told(values):
    return f"{statistics.median(values):.2f} [{min(values):.2f}-{max(values):.2f}]"


def compare(title, ours, theirs, goal):
    taken = {"mirrord": [], "kubectl": []}
    for _ in range(rounds):
        taken["mirrord"].append(ours())
        taken["kubectl"].append(theirs())
    ratio = statistics.median(taken["mirrord"]) / statistics.median(taken["kubectl"])
    print(f"| {title} | {told(taken['mirrord'])} | {told(taken['kubectl'])} | {ratio:.2f} | {goal} |", flush=True)


def cold(measure, program):
    """As the first command of a day: the program is read from the disk, and kubectl has not yet asked what the API server knows."""
    def measured():
        with open(program, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with tempfile.TemporaryDirectory() as cache:
            os.environ["KUBECACHEDIR"] = cache
            try:
                return measure()
            finally:
                del os.environ["KUBECACHEDIR"]
    return measured


def pod():
    """The preview's pod as kubectl would make it: the target's template with another image."""
    deployment = json.loads(kubectl("get", "deployment", "shop", "-o", "json")[1])
    template = deployment["spec"]["template"]
    template["spec"]["containers"][0]["image"] = "mirrord-test/shop:preview"
    template["metadata"]["labels"] = {"app": "by-hand"}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "by-hand", **template["metadata"]}, "spec": template["spec"]})


def main():
    run([*KUBECTL, "create", "namespace", namespace])
    manifest = os.path.join(os.path.dirname(__file__), "..", "cluster", "manifests", "shop.yaml")
    kubectl("apply", "-f", manifest)
    kubectl("rollout", "status", "deployment/shop", "--timeout", "120s")
    by_hand = pod()
    target = ["-n", namespace, "-t", "deployment/shop", "-i", "mirrord-test/shop:preview", "-k", "bench"]

    def create():
        return kubectl("create", "-f", "-", text=by_hand)[0] + kubectl("wait", "--for=condition=ContainersReady", "pod/by-hand", "--timeout=60s")[0]

    def delete():
        return kubectl("delete", "pod", "by-hand", "--wait")[0]

    def started(mode):
        took = mirrord("start", *target, mode=mode)[0]
        mirrord("stop", "-k", "bench", "-n", namespace)
        return took

    def created():
        took = create()
        delete()
        return took

    print("| | mirrord, s | kubectl, s | ratio | to reach |\n|---|---|---|---|---|")
    compare("start, nothing routed · create a pod and wait for its containers", lambda: started("off"), created, "1.15")
    compare("start, steal, proven · the same", lambda: started("steal"), created, "1.15 + 2 s")

    mirrord("start", *target)
    create()
    compare("status of 1 · get pods by label", lambda: mirrord("status", "-n", namespace)[0],
            lambda: kubectl("get", "pods", "-l", "app.kubernetes.io/managed-by=mirrord", "-o", "wide")[0], "0.2")
    delete()
    compare("status of 1, cold · the same", cold(lambda: mirrord("status", "-n", namespace)[0], MIRRORD[0]),
            cold(lambda: kubectl("get", "pods", "-l", "app.kubernetes.io/managed-by=mirrord", "-o", "wide")[0], shutil.which("kubectl")), "")
    compare("start-up: the version, asked of nobody", lambda: run([*MIRRORD, "--version"])[0], lambda: run([*KUBECTL, "version", "--client"])[0], "")
    compare("the same, cold", cold(lambda: run([*MIRRORD, "--version"])[0], MIRRORD[0]),
            cold(lambda: run([*KUBECTL, "version", "--client"])[0], shutil.which("kubectl")), "")

    def stopped():
        took = mirrord("stop", "-k", "bench", "-n", namespace)[0]
        mirrord("start", *target)
        return took

    def deleted():
        create()
        return delete()

    compare("stop · delete the pod and wait", stopped, deleted, "")
    mirrord("stop", "-k", "bench", "-n", namespace)
    new_pods(target)
    count = int(os.environ.get("MANY", "5000"))
    many(count)
    if count:
        compare(f"start, nothing routed, beside {count:,} · create a pod and wait", lambda: started("off"), created, "1.15")
        mirrord("start", *target)
        compare(f"stop beside {count:,} · delete the pod and wait", stopped, deleted, "")


def begun(container):
    """When a container's first process was started, by the clock since the boot. It runs on this machine."""
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{process}/cgroup") as file:
                if container not in file.read():
                    continue
            with open(f"/proc/{process}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue  # It has ended.
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    sys.exit(f"no process of {container}")


def new_pods(target):
    """How long a pod that joins the target is without its route: by requests with the key, to the pod itself."""
    mirrord("start", *target, mode="steal")
    connection = api()

    def containers():
        """The address of each pod that runs, and its first container."""
        connection.request("GET", f"/api/v1/namespaces/{namespace}/pods?labelSelector=app%3Dshop")
        for pod in json.loads(connection.getresponse().read())["items"]:
            container = pod["status"].get("containerStatuses", [{}])[0].get("containerID")
            if container and pod["status"].get("podIP"):
                yield pod["status"]["podIP"], container.split("://")[1]

    known, taken = set(containers()), []
    for replicas in range(3, 3 + rounds):
        kubectl("scale", "deployment/shop", f"--replicas={replicas}")
        while not (fresh := set(containers()) - known):
            pass
        known |= fresh
        address, container = fresh.pop()
        while not keyed(address).startswith("shop preview"):
            time.sleep(0.002)
        taken.append(time.clock_gettime(time.CLOCK_BOOTTIME) - begun(container))
    print(f"| a new pod, from its container's start to its route in force | {told(taken)} | | | |", flush=True)
    mirrord("stop", "-k", "bench", "-n", namespace)


def keyed(address):
    """What answers a request with the key at this pod."""
    connection = http.client.HTTPConnection(address, 8080, timeout=1)
    try:
        connection.request("GET", "/", headers={"baggage": "mirrord-session=bench"})
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


def preview_name(number):
    return f"preview-session-deployment-shop-{number:08x}-abcde"


def api():
    """A connection to the API server, as the kubeconfig's user."""
    config = json.loads(run([*KUBECTL, "config", "view", "--raw", "--minify", "-o", "json"])[1])
    server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as file:
        for part in ("client-certificate-data", "client-key-data"):
            file.write(base64.b64decode(user[part]) + b"\n")
        file.flush()
        context.load_cert_chain(file.name)
    return http.client.HTTPSConnection(server["server"].removeprefix("https://"), context=context)


def ready(count, now):
    """Says of so many pods that they are ready, as a kubelet would."""
    connection = api()
    conditions = [{"type": name, "status": "True", "lastTransitionTime": now} for name in ("Initialized", "PodScheduled", "ContainersReady")]
    container = {"name": "web", "image": "none:1", "imageID": "", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": now}}}
    status = json.dumps({"status": {"phase": "Running", "startTime": now, "conditions": conditions, "containerStatuses": [container]}})
    for number in range(count):
        path = f"/api/v1/namespaces/{namespace}/pods/{preview_name(number)}/status"
        connection.request("PATCH", path, status, {"Content-Type": "application/merge-patch+json"})
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            sys.exit(said.decode())


def many(count):
    """`status` with so many environments: objects without processes, of which
    all that is listed says what it says of live ones."""
    if not count:
        return
    target = ["-n", namespace, "-t", "deployment/shop", "-i", "none:1", "-k", "bench"]
    plan = json.loads(mirrord("start", *target, "--dry-run", "-o", "json")[1])
    job = next(item for item in plan["items"] if item["kind"] == "Job")
    template = next(item for item in plan["items"] if item["kind"] == "ReplicaSet")["spec"]["template"]
    # No node has it: neither the kubelet nor the scheduler has to look twice.
    template["spec"]["schedulerName"] = "nobody"
    job["spec"]["suspend"] = True
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    noted = {"generation": 1, "start": now, "deadlineSeconds": job["spec"]["activeDeadlineSeconds"], "pods": 1}
    job["metadata"]["annotations"]["preview.mirrord.io/clock"] = json.dumps(noted)
    for first in range(0, count, 500):
        items = []
        for number in range(first, min(first + 500, count)):
            for kind, original in (("Job", job), ("Pod", {"apiVersion": "v1", "kind": "Pod", **template})):
                item = json.loads(json.dumps(original))
                name = f"preview-keeper-deployment-shop-{number:08x}" if kind == "Job" else preview_name(number)
                item["metadata"].update(name=name, namespace=namespace)
                item["metadata"]["labels"]["preview.mirrord.io/session"] = f"{number:08x}"
                item["metadata"]["labels"]["preview.mirrord.io/key"] = f"bench-{number}"
                item["metadata"]["annotations"]["preview.mirrord.io/key"] = f"bench-{number}"
                items.append(item)
        kubectl("create", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    ready(count, now)
    selector = ["get", "pods", "-l", "app.kubernetes.io/managed-by=mirrord"]
    compare(f"status of {count:,} · get pods by label", lambda: mirrord("status", "-n", namespace)[0], lambda: kubectl(*selector)[0], "0.5")
    peaks = []
    for words in ([*MIRRORD, "preview", "status", "-n", namespace], [*KUBECTL, "-n", namespace, *selector]):
        script = "import resource,subprocess,sys; subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,check=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        peaks.append(int(run([sys.executable, "-c", script, *words])[1]) / 1024)
    print(f"| the same, peak memory in MiB | {peaks[0]:.0f} | {peaks[1]:.0f} | {peaks[0] / peaks[1]:.2f} | |", flush=True)


try:
    main()
finally:
    subprocess.run([*KUBECTL, "delete", "namespace", namespace, "--wait=false"], capture_output=True)
