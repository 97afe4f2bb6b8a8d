{{- define "mcp.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* The gateway's name; everything else begins with it. */}}
{{- define "mcp.fullname" -}}
{{- $name := include "mcp.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "mcp.operator" -}}
{{- include "mcp.fullname" . }}-operator
{{- end -}}

{{/* (dict "root" . "part" "gateway"|"operator") */}}
{{- define "mcp.partname" -}}
{{- if eq .part "operator" }}{{ include "mcp.operator" .root }}{{ else }}{{ include "mcp.fullname" .root }}{{ end }}
{{- end -}}

{{- define "mcp.selector" -}}
app.kubernetes.io/name: mcp-{{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{- define "mcp.labels" -}}
{{ include "mcp.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/component: {{ .part }}
app.kubernetes.io/part-of: mcp-gateway
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "mcp.serviceaccount" -}}
{{- $own := (index .root.Values .part).serviceAccount.name -}}
{{- default (include "mcp.partname" .) $own -}}
{{- end -}}

{{/* (dict "root" . "image" .Values.images.operator) */}}
{{- define "mcp.image" -}}
{{- .image.repository -}}
{{- if .image.digest -}}
@{{ .image.digest }}
{{- else -}}
:{{ default .root.Chart.AppVersion .image.tag }}
{{- end -}}
{{- end -}}

{{- define "mcp.podsecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "mcp.containersecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What pods of both parts have in common, after their containers. */}}
{{- define "mcp.scheduling" -}}
{{- $own := index .root.Values .part -}}
serviceAccountName: {{ include "mcp.serviceaccount" . }}
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "mcp.podsecurity" . | nindent 2 }}
topologySpreadConstraints:
  {{- with $own.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "mcp.selector" $ | nindent 8 }}
  {{- end }}
{{- with $own.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $own.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "mcp.podmetadata" -}}
{{- $own := index .root.Values .part -}}
labels:
  {{- include "mcp.labels" . | nindent 2 }}
  {{- with $own.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $own.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "mcp.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- end -}}

{{/* Where keys deploy to. */}}
{{- define "mcp.deploynamespace" -}}
{{- if .Values.gateway.deployNamespace -}}
{{- .Values.gateway.deployNamespace -}}
{{- else if and .Values.namespaces (not (has .Release.Namespace .Values.namespaces)) -}}
{{- first .Values.namespaces -}}
{{- else -}}
{{- .Release.Namespace -}}
{{- end -}}
{{- end -}}

{{- define "mcp.hasadmissionpolicy" -}}
{{- $there := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" -}}
{{- $enabled := toString .Values.admissionPolicy.enabled -}}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") $there (not .Values.namespaces)) -}}yes{{- end -}}
{{- end -}}
