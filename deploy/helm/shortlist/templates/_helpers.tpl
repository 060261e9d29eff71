{{- define "shortlist.name" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Labels of a component: dict "root" $ "component" "gateway" */}}
{{- define "shortlist.selector" -}}
app.kubernetes.io/name: shortlist
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "shortlist.labels" -}}
{{ include "shortlist.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "shortlist.metadata" -}}
name: {{ include "shortlist.name" .root }}-{{ .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "shortlist.labels" . | nindent 2 }}
{{- end }}

{{- define "shortlist.serviceAccount" -}}
{{- default (include "shortlist.name" .) .Values.serviceAccount.name -}}
{{- end }}

{{- define "shortlist.ports" -}}
{{- get (dict "gateway" "50051 9091" "retrieval" "50052 9092" "ranking" "50053 9093") .component -}}
{{- end }}
{{- define "shortlist.grpcPort" -}}{{ first (splitList " " (include "shortlist.ports" .)) }}{{- end }}
{{- define "shortlist.metricsPort" -}}{{ last (splitList " " (include "shortlist.ports" .)) }}{{- end }}

{{- define "shortlist.image" -}}
{{- $gpu := and (eq .component "ranking") .root.Values.ranking.gpu.enabled -}}
{{- $digest := get .root.Values.image.digests .component -}}
{{- $version := ternary (printf "@%s" $digest) (printf ":%s" (default .root.Chart.AppVersion .root.Values.image.tag)) (not (empty $digest)) -}}
{{ .root.Values.image.registry }}/shortlist-{{ .component }}{{ ternary "-gpu" "" $gpu }}{{ $version }}
{{- end }}

{{/* Seconds from SIGTERM to SIGKILL: traffic ends, then calls drain, then the process ends. */}}
{{- define "shortlist.grace" -}}
{{- $settings := (get .root.Values .component).settings -}}
{{- add .root.Values.preStopSeconds (ceil (float64 (default 10 $settings.drain_timeout_s))) 10 -}}
{{- end }}

{{/* What a scanner asks for and the defaults cannot give. */}}
{{- define "shortlist.scannerNotes" -}}
{{- if not (get .root.Values.image.digests .component) -}}
checkov.io/skip1: CKV_K8S_43=image.digests gives the digest of your own registry's image
{{- end }}
{{- end }}

{{- define "shortlist.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "shortlist.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Kubelets cannot probe through TLS before Kubernetes 1.37, so health has a port of its own. */}}
{{- define "shortlist.probes" -}}
{{- $port := 8081 -}}
# A server is NOT_SERVING until its release is loaded: up to ten minutes.
startupProbe:
  grpc: {port: {{ $port }}}
  periodSeconds: 2
  failureThreshold: 300
readinessProbe:
  grpc: {port: {{ $port }}}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  grpc: {port: {{ $port }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{- define "shortlist.preStop" -}}
preStop:
  {{- if semverCompare ">=1.30-0" .root.Capabilities.KubeVersion.Version }}
  sleep: {seconds: {{ .root.Values.preStopSeconds }}}
  {{- else }}
  exec: {command: [sleep, {{ .root.Values.preStopSeconds | quote }}]}
  {{- end }}
{{- end }}

{{/* Environment of a component: the chart's own settings, then the user's. */}}
{{- define "shortlist.settings" -}}
{{- $prefix := printf "SHORTLIST_%s_" (upper .component) -}}
{{- $values := get .root.Values .component -}}
{{- $common := fromYaml (include "shortlist.commonSettings" .) -}}
{{- range $name, $value := merge (dict) $values.settings .own $common }}
- name: {{ $prefix }}{{ upper $name }}
  value: {{ toString $value | quote }}
{{- end }}
{{- if .root.Values.tracing.endpoint }}
- name: POD_NAME
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name={{ .root.Release.Namespace }},k8s.pod.name=$(POD_NAME),service.instance.id=$(POD_NAME)
{{- end }}
{{- with $values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "shortlist.accessSecret" -}}
{{- get .root.Values.access (ternary "gateway" "backends" (eq .component "gateway")) -}}
{{- end }}

{{/* Settings that the three servers share. */}}
{{- define "shortlist.commonSettings" -}}
host: "0.0.0.0"
health_port: 8081
# Clients look for new replicas when a connection ends.
max_connection_age_s: 5
{{- with .root.Values.tracing.endpoint }}
trace_endpoint: {{ . }}
trace_share: {{ $.root.Values.tracing.share }}
{{- end }}
{{- if include "shortlist.accessSecret" . }}
access_file: /access/access.toml
{{- end }}
{{- if eq .root.Values.tls.mode "none" }}
insecure: true
{{- else }}
tls_certificate: /tls/tls.crt
tls_key: /tls/tls.key
{{- if or (ne .component "gateway") .root.Values.tls.gatewayClientCertificates }}
tls_client_ca: /tls/ca.crt
{{- end }}
backend_ca: /tls/ca.crt
backend_certificate: /tls/tls.crt
backend_key: /tls/tls.key
{{- end }}
{{- end }}

{{/* Address that resolves to every pod of a component. */}}
{{- define "shortlist.target" -}}
dns:///{{ include "shortlist.name" .root }}-{{ .component }}-headless.{{ .root.Release.Namespace }}:{{ include "shortlist.grpcPort" . }}
{{- end }}

{{/* Settings of a server that serves a release. */}}
{{- define "shortlist.releaseSettings" -}}
{{- $release := .root.Values.release -}}
release: {{ include "shortlist.releaseLocation" .root | quote }}
{{- if eq $release.delivery "url" }}
release_cache: /tmp/releases
{{- end }}
{{- if $release.follow.enabled }}
{{- if eq $release.delivery "image" }}
{{- fail "release.follow: an image volume does not change; set release.delivery to pvc or url" }}
{{- end }}
release_poll_s: {{ $release.follow.pollSeconds }}
release_canary_share: {{ $release.follow.canaryShare }}
release_canary_pause_s: {{ $release.follow.canaryPauseSeconds }}
release_trial_s: {{ $release.follow.trialSeconds }}
release_max_failed_share: {{ $release.follow.maxFailedShare }}
release_peers: {{ include "shortlist.target" . }}
{{- if eq .component "retrieval" }}
ranking_target: {{ include "shortlist.target" (dict "root" .root "component" "ranking") }}
{{- end }}
{{- end }}
{{- end }}

{{- define "shortlist.tlsSecret" -}}
{{- if eq .root.Values.tls.mode "certManager" -}}
{{ include "shortlist.name" .root }}-{{ .component }}-tls
{{- else -}}
{{ required (printf "tls.secrets.%s: name the Secret of its certificate" .component) (get .root.Values.tls.secrets .component) }}
{{- end -}}
{{- end }}

{{- define "shortlist.releaseLocation" -}}
{{- if eq .Values.release.delivery "url" -}}
{{ required "release.location: give the URL of a release or of a store" .Values.release.location }}
{{- else -}}
/release/{{ .Values.release.location }}
{{- end -}}
{{- end }}

{{- define "shortlist.releaseMount" -}}
{{- if ne .Values.release.delivery "url" }}
- {name: release, mountPath: /release, readOnly: true}
{{- end }}
{{- end }}

{{- define "shortlist.releaseVolume" -}}
{{- if eq .Values.release.delivery "pvc" }}
- name: release
  persistentVolumeClaim:
    claimName: {{ required "release.pvc.claimName: name the claim that holds the releases" .Values.release.pvc.claimName }}
    readOnly: true
{{- else if eq .Values.release.delivery "image" }}
- name: release
  image:
    reference: {{ required "release.image.reference: name the image that holds the release" .Values.release.image.reference }}
    pullPolicy: {{ .Values.release.image.pullPolicy }}
{{- end }}
# ONNX Runtime's and, for URLs, the release's temporary files.
- name: tmp
  emptyDir: {}
{{- end }}

{{- define "shortlist.redisEnv" -}}
{{- if .root.Values.redis.existingSecret }}
- name: SHORTLIST_{{ upper .component }}_CHANGE_STREAM
  valueFrom:
    secretKeyRef: {name: {{ .root.Values.redis.existingSecret }}, key: url}
{{- else }}
- name: SHORTLIST_{{ upper .component }}_CHANGE_STREAM
  value: {{ required "redis.url: give the address of the stream of changes" .root.Values.redis.url | quote }}
{{- end }}
{{- end }}

{{- define "shortlist.profilesEnv" -}}
{{- $redis := .Values.gateway.profiles.redis -}}
- name: SHORTLIST_GATEWAY_PROFILES
{{- if $redis.existingSecret }}
  valueFrom:
    secretKeyRef: {name: {{ $redis.existingSecret }}, key: url}
{{- else }}
  value: {{ required "gateway.profiles.redis.url: give the address of the profiles" $redis.url | quote }}
{{- end }}
{{- end }}

{{- define "shortlist.scheduling" -}}
{{- $values := get .root.Values .component -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if .root.Values.topologySpread.enabled }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "shortlist.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Pod template of a component; `own` are the chart's settings, `extraEnv`, `mounts` and `volumes` are YAML lists. */}}
{{- define "shortlist.podTemplate" -}}
{{- $values := get .root.Values .component -}}
metadata:
  labels:
    {{- include "shortlist.labels" . | nindent 4 }}
  annotations:
    shortlist/release: {{ printf "%s %s" (include "shortlist.releaseLocation" .root) .root.Values.release.id | trim | quote }}
    shortlist/settings: {{ toJson (dict "settings" $values.settings "own" .own) | sha256sum | trunc 16 | quote }}
spec:
  serviceAccountName: {{ include "shortlist.serviceAccount" .root }}
  automountServiceAccountToken: false
  # Service links would set SHORTLIST_…_PORT=tcp://…, which the servers refuse.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "shortlist.grace" . }}
  securityContext:
    {{- include "shortlist.podSecurity" . | nindent 4 }}
  {{- include "shortlist.scheduling" . | nindent 2 }}
  {{- if and (eq .component "ranking") .root.Values.ranking.gpu.enabled .root.Values.ranking.gpu.runtimeClassName }}
  runtimeClassName: {{ .root.Values.ranking.gpu.runtimeClassName }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "shortlist.image" . }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      securityContext:
        {{- include "shortlist.containerSecurity" . | nindent 8 }}
      ports:
        - {name: grpc, containerPort: {{ include "shortlist.grpcPort" . }}}
        - {name: metrics, containerPort: {{ include "shortlist.metricsPort" . }}}
        - {name: health, containerPort: 8081}
      env:
        {{- include "shortlist.settings" . | nindent 8 }}
        {{- with .extraEnv }}
        {{- . | nindent 8 }}
        {{- end }}
      {{- include "shortlist.probes" . | nindent 6 }}
      lifecycle:
        {{- include "shortlist.preStop" . | nindent 8 }}
      resources:
        {{- $resources := deepCopy $values.resources }}
        {{- if and (eq .component "ranking") .root.Values.ranking.gpu.enabled }}
        {{- $gpu := dict "nvidia.com/gpu" .root.Values.ranking.gpu.count }}
        {{- $resources = merge $resources (dict "requests" $gpu "limits" $gpu) }}
        {{- end }}
        {{- toYaml $resources | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if ne .root.Values.tls.mode "none" }}
        - {name: tls, mountPath: /tls, readOnly: true}
        {{- end }}
        {{- if include "shortlist.accessSecret" . }}
        - {name: access, mountPath: /access, readOnly: true}
        {{- end }}
        {{- with .mounts }}
        {{- . | nindent 8 }}
        {{- end }}
  volumes:
    {{- .volumes | nindent 4 }}
    {{- if ne .root.Values.tls.mode "none" }}
    - name: tls
      secret: {secretName: {{ include "shortlist.tlsSecret" . }}}
    {{- end }}
    {{- with include "shortlist.accessSecret" . }}
    - name: access
      secret: {secretName: {{ . }}}
    {{- end }}
{{- end }}
