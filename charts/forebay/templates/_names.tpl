{{- /* Names, labels and what several templates share. */ -}}

{{- define "forebay.operator" -}}
{{ printf "%s-operator" .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "forebay.agent" -}}
{{ printf "%s-agent" .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "forebay.selector" -}}
app.kubernetes.io/name: forebay
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "forebay.labels" -}}
{{ include "forebay.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "forebay.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- define "forebay.namespaces" -}}
{{ .Values.namespaces | default (list .Release.Namespace) | uniq | toJson }}
{{- end }}

{{- /* Of a container that needs nothing: Pod Security "restricted". */ -}}
{{- define "forebay.unprivileged" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "forebay.nobody" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* The verbs that the operator's code uses, no more; tests/charts proves both. */ -}}
{{- define "forebay.rules" -}}
- apiGroups: [forebay.dev]
  resources: [cacheclusters, datasets]
  verbs: [list, watch]
- apiGroups: [forebay.dev]
  resources: [cacheclusters/status, datasets/status]
  verbs: [patch]
- apiGroups: [forebay.dev] # owner references that block deletion, where the API server asks for it
  resources: [cacheclusters/finalizers, datasets/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [configmaps, secrets, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- /* The agent listens on a unix socket only, and the image has no shell and no curl to speak of. */ -}}
{{- define "forebay.agentAlive" -}}
exec:
  command:
    - python
    - -c
    - |
      import socket
      with socket.socket(socket.AF_UNIX) as line:
          line.settimeout(4)
          line.connect("/run/forebay/agent.sock")
          line.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
          assert b" 200 " in line.recv(64)
{{- end }}
