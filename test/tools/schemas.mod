module corp.example/gateway/test/tools/schemas

go 1.26.0

require (
	github.com/external-secrets/external-secrets v1.3.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
	k8s.io/kubernetes v1.37.2
	sigs.k8s.io/gateway-api v1.6.0
)
