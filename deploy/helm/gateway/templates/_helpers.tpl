{{- define "gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "gateway.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "gateway.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "gateway.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "gateway.selector" -}}
app.kubernetes.io/name: {{ include "gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "gateway.labels" -}}
{{ include "gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "gateway.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{- define "gateway.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "gateway.fullname" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "gateway.policyConfigMap" -}}
{{- default (printf "%s-policy" (include "gateway.fullname" .)) .Values.policy.existingConfigMap }}
{{- end }}

{{- define "gateway.host" -}}
{{- (urlParse .Values.config.server.public_url).hostname }}
{{- end }}

{{/* "acme" where the replicas get their certificate from an ACME server, and "http01" where it may ask them over HTTP. */}}
{{- define "gateway.acme" -}}
{{- if dig "server" "tls" "acme" "" .Values.config }}acme{{ end }}
{{- end }}

{{- define "gateway.http01" -}}
{{- if and (include "gateway.acme" .) .Values.service.acmePort }}http01{{ end }}
{{- end }}

{{/* gateway.yaml: what is configured, and over it what the chart itself decides. */}}
{{- define "gateway.config" -}}
{{- $_ := required "config.server.public_url has to be given: where clients and browsers reach the gateway" (dig "server" "public_url" "" .Values.config) }}
{{- if not .Values.config.credentials }}{{ fail "config.credentials has to be given: the upstream tokens" }}{{ end }}
{{- if and (not .Values.redis.url) (or .Values.autoscaling.enabled (gt (int .Values.replicas) 1)) }}
{{- fail "several replicas need redis.url: they share tokens, sessions and buckets there" }}
{{- end }}
{{- $state := dict "dir" "/var/lib/gateway" }}
{{- with .Values.redis }}{{ if .url }}
{{- $redis := dict "url" .url }}
{{- if .password.secretName }}{{ $_ := set $redis "password" (dict "file" (printf "/run/secrets/redis/%s" .password.key)) }}{{ end }}
{{- if .ca.secretName }}{{ $_ := set $redis "ca_file" (printf "/run/secrets/redis-ca/%s" .ca.key) }}{{ end }}
{{- $_ := set $state "redis" $redis }}
{{- end }}{{ end }}
{{- with .Values.sealKey }}{{ if .secretName }}{{ $_ := set $state "seal_key" (dict "file" (printf "/run/secrets/seal-key/%s" .key)) }}{{ end }}{{ end }}
{{- $server := dict "listen" ":8443" }}
{{- if and .Values.tls.secretName (include "gateway.acme" .) }}{{ fail "tls.secretName and config.server.tls.acme are two certificates: give one" }}{{ end }}
{{- if include "gateway.http01" . }}{{ $_ := set $server "tls" (dict "acme" (dict "http_listen" ":8080")) }}{{ end }}
{{- if .Values.tls.secretName }}{{ $_ := set $server "tls" (dict "cert_file" "/run/secrets/tls/tls.crt" "key_file" "/run/secrets/tls/tls.key") }}{{ end }}
{{- $own := dict "server" $server "admin" (dict "listen" ":9090") "state" $state "policy" (dict "file" "/etc/gateway/policy/policy.yaml") }}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $own) }}
{{- end }}

{{/* The mounted secrets, one "NAME SECRET" a line. */}}
{{- define "gateway.secrets" -}}
{{- range .Values.secrets }}{{ .name }} {{ .secretName }}{{ "\n" }}{{ end }}
{{- range .Values.externalSecrets }}{{ .name }} {{ include "gateway.fullname" $ }}-{{ .name }}{{ "\n" }}{{ end }}
{{- with .Values.tls.secretName }}tls {{ . }}{{ "\n" }}{{ end }}
{{- with .Values.redis.password.secretName }}redis {{ . }}{{ "\n" }}{{ end }}
{{- with .Values.redis.ca.secretName }}redis-ca {{ . }}{{ "\n" }}{{ end }}
{{- with .Values.sealKey.secretName }}seal-key {{ . }}{{ "\n" }}{{ end }}
{{- end }}
