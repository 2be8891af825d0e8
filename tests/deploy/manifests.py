"""Do the manifests' parts fit together? `check` asserts it; `compose` and `kubernetes` print their proxy.toml.

Schemas say what each field may hold. This says what no schema knows: that selectors meet labels, ports meet
listeners, and that whoever stops Weir waits longer than it drains.
"""

import re
import sys
import tomllib
from pathlib import Path

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SPARE_SECONDS_MIN = 5


def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def compose_toml():
    return compose()["configs"]["proxy"]["content"]


def kubernetes():
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    by_kind = {document["kind"]: document for document in documents}
    assert len(by_kind) == len(documents), "two documents of one kind"
    return by_kind


def kubernetes_toml():
    return kubernetes()["ConfigMap"]["data"]["proxy.toml"]


def seconds(text):
    """The length of "45s" and the like; whatever else is written deserves a look."""
    number = re.fullmatch(r"(\d+)s", text)
    assert number, f"not a whole number of seconds: {text!r}"
    return int(number[1])


def check_compose():
    file = compose()
    proxy = tomllib.loads(compose_toml())
    weir = file["services"]["weir"]

    assert seconds(weir["stop_grace_period"]) >= seconds(proxy["process"]["drain"]) + SPARE_SECONDS_MIN
    port = proxy["listener"][0]["address"].rsplit(":", 1)[1]
    assert weir["ports"][0].rsplit(":", 1)[1] == port, "the published port is not the listener's"
    assert weir["configs"][0]["source"] in file["configs"]
    for upstream in proxy["upstream"].values():
        for endpoint in upstream["endpoints"]:
            host = re.fullmatch(r"http://([a-z]+):\d+", endpoint)[1]
            assert host in file["services"], f"no service {host}"
    check_routes(proxy)


def check_kubernetes():
    files = kubernetes()
    assert set(files) == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"}, set(files)
    proxy = tomllib.loads(kubernetes_toml())
    template = files["Deployment"]["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"]
    (weir,) = pod["containers"]

    stopping = seconds(proxy["process"]["drain_delay"]) + seconds(proxy["process"]["drain"])
    assert pod["terminationGracePeriodSeconds"] >= stopping + SPARE_SECONDS_MIN

    assert files["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert files["Service"]["spec"]["selector"].items() <= labels.items()
    assert files["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels.items()

    ports = {port["name"]: str(port["containerPort"]) for port in weir["ports"]}
    assert proxy["listener"][0]["address"] == f"0.0.0.0:{ports['http']}"
    assert proxy["admin"]["address"] == f"0.0.0.0:{ports['admin']}"
    assert weir["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}
    assert weir["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "admin"}
    targets = [port["targetPort"] for port in files["Service"]["spec"]["ports"]]
    assert targets == ["http"], "the Service must not offer the admin listener"

    mounted = {volume["name"]: volume["configMap"]["name"] for volume in pod["volumes"]}
    (mount,) = weir["volumeMounts"]
    assert mounted[mount["name"]] == files["ConfigMap"]["metadata"]["name"]
    assert mount["mountPath"] == "/etc/weir", "where the image looks for proxy.toml"
    check_routes(proxy)


def check_routes(proxy):
    for route in proxy["route"]:
        assert route["upstream"] in proxy["upstream"], route


def check_unit():
    unit = (DEPLOY / "weir.service").read_text()
    drain_default = 30
    assert seconds(re.search(r"^TimeoutStopSec=(.*)$", unit, re.M)[1]) >= drain_default + SPARE_SECONDS_MIN


def check_image():
    file = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", file, re.M), "the user must be a number, and not root"
    assert '"/etc/weir/proxy.toml"' in file


def main(what):
    if what == "check":
        for check in (check_compose, check_kubernetes, check_unit, check_image):
            check()
    elif what == "compose":
        print(compose_toml())
    else:
        print(kubernetes_toml())


main(sys.argv[1])
