{{/* Rights where McpServers are: in a ClusterRole, or in a Role of each namespace. */}}
{{- define "mcp.operator.rules" -}}
- apiGroups: [mcpgateway.dev]
  resources: [mcpservers]
  verbs: [list, watch]
- apiGroups: [mcpgateway.dev]
  resources: [mcpservers/status]
  verbs: [patch]
# What every server has goes with it: the garbage collector removes it.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch]
# What a server may not want any more.
- apiGroups: [""]
  resources: [serviceaccounts, configmaps, persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# One at a time, by the names that servers refer to: never a list.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* Rights in the release's own namespace. */}}
{{- define "mcp.operator.ownrules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "mcp.operator" . }}]
  verbs: [get, update]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    - {{ include "mcp.fullname" . }}-keys
    - {{ include "mcp.operator" . }}-keys
    - {{ include "mcp.fullname" . }}-api-keys
    - {{ include "mcp.fullname" . }}-first-key
  verbs: [get]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "mcp.fullname" . }}-keys]
  verbs: [update]
{{- end -}}

{{- define "mcp.gateway.rules" -}}
- apiGroups: [mcpgateway.dev]
  resources: [mcpservers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [mcpgateway.dev]
  resources: [mcpservers/status]
  verbs: [patch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
# For what is secret in a deployment. It never reads one.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch]
{{- end -}}

{{- define "mcp.gateway.ownrules" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    - {{ include "mcp.fullname" . }}-keys
    - {{ include "mcp.fullname" . }}-api-keys
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- end -}}

{{/* (dict "root" . "part" … "kind" "ClusterRole"|"Role" "name" … "namespace" … "rules" …): a role and its binding. */}}
{{- define "mcp.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "mcp.labels" . | nindent 4 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "mcp.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "mcp.serviceaccount" . }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{/* All roles of a part. Those of the cluster have the namespace in their name: releases do not meet. */}}
{{- define "mcp.roles" -}}
{{- $part := dict "root" .root "part" .part -}}
{{- $name := include "mcp.partname" $part -}}
{{- $rules := include (printf "mcp.%s.rules" .part) .root -}}
{{- if .root.Values.namespaces }}
{{- range .root.Values.namespaces }}
---
{{ include "mcp.role" (merge (dict "kind" "Role" "name" (printf "%s-servers" $name) "namespace" . "rules" $rules) $part) }}
{{- end }}
{{- else }}
---
{{ include "mcp.role" (merge (dict "kind" "ClusterRole" "name" (printf "%s-%s" .root.Release.Namespace $name) "rules" $rules) $part) }}
{{- end }}
---
{{ include "mcp.role" (merge (dict "kind" "Role" "name" $name "namespace" .root.Release.Namespace "rules" (include (printf "mcp.%s.ownrules" .part) .root)) $part) }}
{{- end -}}
