{{- define "ovnloom.image" -}}
{{ .Values.global.registry.address }}/{{ .Values.global.images.kubeovn.repository }}:{{ .Values.global.images.kubeovn.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Addresses of the database members, comma separated: MASTER_NODES, else the InternalIP of each node with the label. */}}
{{- define "ovnloom.members" -}}
{{- $members := list -}}
{{- if .Values.MASTER_NODES -}}
{{- range splitList "," .Values.MASTER_NODES }}{{ $members = append $members (trim .) }}{{ end -}}
{{- else -}}
{{- $label := splitList "=" .Values.MASTER_NODES_LABEL -}}
{{- range (lookup "v1" "Node" "" "").items -}}
{{- $labels := .metadata.labels | default dict -}}
{{- if and (hasKey $labels (index $label 0)) (eq (get $labels (index $label 0)) (index $label 1)) -}}
{{- $found := "" -}}
{{- range (.status | default dict).addresses }}{{ if and (eq .type "InternalIP") (not $found) }}{{ $found = .address }}{{ end }}{{ end -}}
{{- if $found }}{{ $members = append $members $found }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if not $members -}}
{{- fail (printf "no node carries the label %s: label 1 or 3 nodes with it (kubectl label node NAME %s), or give their addresses in MASTER_NODES" .Values.MASTER_NODES_LABEL .Values.MASTER_NODES_LABEL) -}}
{{- end -}}
{{- end -}}
{{- if eq (mod (len $members) 2) 0 -}}
{{- fail (printf "%d nodes would hold OVN's databases (%s); a majority needs an odd number: label 1, 3 or 5 nodes with %s, or name them in MASTER_NODES" (len $members) (join ", " $members) .Values.MASTER_NODES_LABEL) -}}
{{- end -}}
{{- join "," $members -}}
{{- end }}

{{/* ovnloom.remotes (list . 6641) -> ssl:10.0.0.1:6641,… */}}
{{- define "ovnloom.remotes" -}}
{{- $root := index . 0 -}}{{- $port := index . 1 -}}
{{- $protocol := ternary "ssl" "tcp" $root.Values.networking.ENABLE_SSL -}}
{{- $remotes := list -}}
{{- range splitList "," (include "ovnloom.members" $root) -}}
{{- $remotes = append $remotes (printf "%s:%s:%v" $protocol (ternary (printf "[%s]" .) . (contains ":" .)) $port) -}}
{{- end -}}
{{- join "," $remotes -}}
{{- end }}

{{- define "ovnloom.controllerReplicas" -}}
{{- $replicas := int (index .Values "kube-ovn-controller").replicas -}}
{{- if $replicas -}}{{ $replicas }}
{{- else if eq (len (default list (lookup "v1" "Node" "" "").items)) 1 -}}1
{{- else -}}2
{{- end -}}
{{- end }}

{{- define "ovnloom.podBasics" -}}
{{- with .Values.global.registry.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
tolerations:
  - operator: Exists
{{- end }}

{{- define "ovnloom.containerImage" -}}
image: {{ include "ovnloom.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- define "ovnloom.devMount" -}}
{{- if .Values.dev.source }}
- name: dev
  mountPath: /opt/ovnloom/src/ovnloom
  readOnly: true
{{- end }}
{{- end }}
{{- define "ovnloom.devVolume" -}}
{{- if .Values.dev.source }}
- name: dev
  hostPath:
    path: {{ .Values.dev.source }}
    type: Directory
{{- end }}
{{- end }}

{{- define "ovnloom.tlsMount" -}}
{{- if .Values.networking.ENABLE_SSL }}
- name: tls
  mountPath: /var/run/tls
  readOnly: true
{{- end }}
{{- end }}
{{- define "ovnloom.tlsVolume" -}}
{{- if .Values.networking.ENABLE_SSL }}
- name: tls
  secret:
    secretName: kube-ovn-tls
    defaultMode: 0440
{{- end }}
{{- end }}

{{/* The configuration file: .Values.config, with the networks of NET_STACK where it names none. */}}
{{- define "ovnloom.config" -}}
{{- $stack := index .Values .Values.networking.NET_STACK -}}
{{- $networks := dict "subnet" (dict "cidr" $stack.POD_CIDR) "node" (dict "cidr" $stack.JOIN_CIDR) -}}
{{- if $stack.POD_GATEWAY }}{{ $_ := set $networks.subnet "gateway" $stack.POD_GATEWAY }}{{ end -}}
{{- $plugins := list -}}
{{- range .Values.config.plugins -}}
{{- if kindIs "string" . -}}
{{- $plugins = append $plugins (ternary (dict . (get $networks .)) . (hasKey $networks .)) -}}
{{- else -}}
{{- $entry := dict -}}
{{- range $name, $section := . -}}
{{- $_ := set $entry $name (merge (deepCopy ($section | default dict)) (get $networks $name | default dict)) -}}
{{- end -}}
{{- $plugins = append $plugins $entry -}}
{{- end -}}
{{- end -}}
{{- $cluster := merge (deepCopy (.Values.config.cluster | default dict)) (dict "serviceCidr" $stack.SVC_CIDR "namespace" .Values.namespace) -}}
{{- toYaml (merge (dict "cluster" $cluster "plugins" $plugins) (omit .Values.config "plugins" "cluster")) -}}
{{- end }}
