// Package configs holds the example configuration and the demo's, so that the demo runs what a reader can look at.
package configs

import _ "embed"

// DemoGateway is a text/template of the demo's gateway.yaml.
//
//go:embed demo/gateway.yaml
var DemoGateway string

// DemoPolicy is the demo's policy.yaml.
//
//go:embed demo/policy.yaml
var DemoPolicy []byte
