{{/* The pieces that more than one object has. Values are checked by values.schema.json and not again here. */}}

{{- define "laghound.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* What tells pods of this release from others. */}}
{{- define "laghound.selector" -}}
app.kubernetes.io/name: laghound
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "laghound.collector.selector" -}}
app.kubernetes.io/name: {{ .Values.collector.name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "laghound.common" -}}
app.kubernetes.io/part-of: laghound
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "laghound.labels" -}}
{{ include "laghound.selector" . }}
{{ include "laghound.common" . }}
{{- end }}

{{- define "laghound.collector.labels" -}}
{{ include "laghound.collector.selector" . }}
{{ include "laghound.common" . }}
{{- end }}

{{/* Labels of pods: a new release of the chart alone starts none anew. */}}
{{- define "laghound.pod.labels" -}}
app.kubernetes.io/part-of: laghound
{{- with .Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Beside a Collector the usual ports are taken, and spans come from the same pod. */}}
{{- define "laghound.settings" -}}
{{- $settings := dict "receiver" (dict "grpc" (dict "endpoint" "0.0.0.0:4317") "http" (dict "endpoint" "0.0.0.0:4318")) -}}
{{- if eq .Values.mode "sidecar" -}}
{{- $settings = dict "receiver" (dict "grpc" (dict "endpoint" "127.0.0.1:14317") "http" (dict "endpoint" "127.0.0.1:14318")) -}}
{{- end -}}
{{- $_ := set $settings "admin" (dict "endpoint" "0.0.0.0:9479") -}}
{{- $_ := set $settings "log" (dict "format" "json") -}}
{{- toYaml (mergeOverwrite $settings (deepCopy .Values.config)) -}}
{{- end }}

{{- define "laghound.collector.config" -}}
{{- .Values.collector.config | default (.Files.Get (printf "files/%s.yaml" .Values.mode)) -}}
{{- end }}

{{- define "laghound.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What the container of laghound has wherever it stands. */}}
{{- define "laghound.container" -}}
name: laghound
image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- if ne .Values.image.pullPolicy "IfNotPresent" }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}
args: [serve, --config, /etc/laghound/laghound.yaml]
{{- with .Values.env }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
startupProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
resources:
  {{- toYaml .Values.resources | nindent 2 }}
{{- end }}

{{/* Where pods may stand, and who they are. */}}
{{- define "laghound.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
