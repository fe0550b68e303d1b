{{- define "plimsoll.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* NetworkPolicies of isolated services select the operator by the first of these: it must not depend on a value. */ -}}
{{- define "plimsoll.selectorLabels" -}}
app.kubernetes.io/name: plimsoll
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "plimsoll.labels" -}}
{{ include "plimsoll.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "plimsoll.image" -}}
{{- $image := printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- with .Values.image.digest }}{{ $image = printf "%s@%s" $image . }}{{ end -}}
{{- $image -}}
{{- end -}}

{{- /* "true" or nothing. */ -}}
{{- define "plimsoll.watchNodes" -}}
{{- if kindIs "bool" .Values.watchNodes }}{{ if .Values.watchNodes }}true{{ end }}
{{- else if not .Values.namespaces }}true{{ end -}}
{{- end -}}

{{- /* "true" or nothing. */ -}}
{{- define "plimsoll.readGateways" -}}
{{- if kindIs "bool" .Values.readGateways }}{{ if .Values.readGateways }}true{{ end }}
{{- else if not .Values.namespaces }}true{{ end -}}
{{- end -}}

{{- define "plimsoll.subject" -}}
- kind: ServiceAccount
  name: {{ include "plimsoll.fullname" . }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}

{{/* What the operator is told of webhooks. */}}
{{- define "plimsoll.webhooks" -}}
{{- $told := dict "keyFile" "/etc/plimsoll/webhooks-key/key" "plainHosts" .Values.webhooks.plainHosts "privateRanges" .Values.webhooks.privateRanges -}}
{{- with .Values.webhooks.caFile }}{{ $told = set $told "caFile" . }}{{ end -}}
{{- toYaml $told -}}
{{- end -}}

{{/* Gateways as the operator's command line takes them: name=namespace/gateway, separated by commas. */}}
{{- define "plimsoll.gateways" -}}
{{- $all := list -}}
{{- range $name, $place := .Values.gateways -}}
{{- $all = append $all (printf "%s=%s" $name $place) -}}
{{- end -}}
{{- join "," $all -}}
{{- end -}}
