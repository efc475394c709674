"""The configuration files of a node, and the command lines of the control plane."""

from __future__ import annotations

import json

from ovnloom.sandbox.plan import DNS, Plan, management

PAUSE = "registry.k8s.io/pause:3.10.1"

CONTAINERD = f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # A node in a container has no CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/opt/cni/bin"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
"""


def kubelet(node: str) -> str:
    """KubeletConfiguration as JSON, which is YAML."""
    return json.dumps(
        {
            "kind": "KubeletConfiguration",
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": "/pki/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"/pki/{node}.crt",
            "tlsPrivateKeyFile": f"/pki/{node}.key",
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": True,
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "localStorageCapacityIsolation": False,
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "50Mi"},
            "maxPods": 250,
            "clusterDNS": [DNS],
            "clusterDomain": "cluster.local",
            "resolvConf": "/etc/resolv.conf",
            "nodeStatusReportFrequency": "1m",
            "featureGates": {"KubeletCrashLoopBackOffMax": True},
            "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        },
        indent=1,
    )


def kube_proxy(plan: Plan, node: str) -> str:
    """KubeProxyConfiguration as JSON. The kernel's conntrack limits belong to the host: they are left alone."""
    return json.dumps(
        {
            "kind": "KubeProxyConfiguration",
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "mode": plan.options.proxy,
            "hostnameOverride": node,
            "clusterCIDR": plan.pods,
            "clientConnection": {"kubeconfig": "/pki/proxy.kubeconfig"},
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "nftables": {"minSyncPeriod": "100ms"},
            "iptables": {"minSyncPeriod": "100ms"},
        },
        indent=1,
    )


def kubelet_command(plan: Plan, node: str) -> list[str]:
    return [
        "kubelet",
        "--config=/etc/kubelet.json",
        f"--kubeconfig=/pki/{node}.kubeconfig",
        f"--hostname-override={node}",
        f"--node-ip={plan.addresses(node)}",
        "--root-dir=/var/lib/kubelet",
        "-v=2",
    ]


def etcd_command(plan: Plan) -> list[str]:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return [
        f"{plan.bin}/etcd",
        f"--data-dir={plan.folder}/etcd",
        "--unsafe-no-fsync",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
    ]


def apiserver_command(plan: Plan) -> list[str]:
    pki = plan.pki
    return [
        f"{plan.bin}/kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--advertise-address={management(1)}",
        "--secure-port=6443",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--service-cluster-ip-range={plan.services}",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--kubelet-client-certificate={pki}/kubelet-client.crt",
        f"--kubelet-client-key={pki}/kubelet-client.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki}/ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key",
    ]


def _identity(plan: Plan, user: str) -> list[str]:
    file = f"{plan.pki}/{user}.kubeconfig"
    return [f"--{flag}={file}" for flag in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")]


def controller_manager_command(plan: Plan) -> list[str]:
    return [
        f"{plan.bin}/kube-controller-manager",
        *_identity(plan, "controller-manager"),
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={plan.pki}/sa.key",
        f"--root-ca-file={plan.pki}/ca.crt",
        f"--cluster-signing-cert-file={plan.pki}/ca.crt",
        f"--cluster-signing-key-file={plan.pki}/ca.key",
        f"--service-cluster-ip-range={plan.services}",
        f"--cluster-cidr={plan.pods}",
        "--allocate-node-cidrs=false",
        # A busy machine may stall for a while; that must not evict every pod.
        "--node-monitor-grace-period=2m",
    ]


def scheduler_command(plan: Plan) -> list[str]:
    return [f"{plan.bin}/kube-scheduler", *_identity(plan, "scheduler"), "--leader-elect=false"]
