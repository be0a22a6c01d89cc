package sandbox

import "strings"

// getProjectConfig is the project's whole configuration in one answer, put together from its settings. Secrets among
// them are given as digests.
func (s *Sandbox) getProjectConfig(c *call) (any, error) {
	p := c.project
	return data(resource{"project_config", p.ref, doc{
		"database": p.databaseConfig(), "pooler": p.poolerConfig(), "auth": p.authConfig(), "api": p.apiConfig(),
		"realtime": p.realtimeConfig(), "storage": p.storageConfig(),
	}}), nil
}

func (p *project) databaseConfig() doc {
	allowed := tagged(p.restrictions.current()).(doc)["dbAllowedCidrs"]
	return doc{
		"major_version": 17, "ssl_enforced": p.setting("ssl-enforcement")["currentConfig"].(doc)["database"],
		"network_restrictions": doc{"entitlement": "allowed", "status": "applied", "allowed_cidrs": allowed},
		"postgres_settings":    p.setting("postgres"),
	}
}

func (p *project) poolerConfig() doc {
	shown := doc{}
	for name, value := range p.setting("pgbouncer") {
		if name != "connection_string" {
			shown[name] = value
		}
	}
	return shown
}

func (p *project) authConfig() doc {
	shown := doc{}
	for name, value := range p.setting("auth") {
		if secret, ok := value.(string); ok && secret != "" && isSecretName(name) {
			value = digest(secret)
		}
		shown[name] = value
	}
	return shown
}

// isSecretName reports whether an auth setting of that name is a secret.
func isSecretName(name string) bool {
	for _, ending := range []string{"_secret", "_secrets", "_pass", "_auth_token", "_api_key"} {
		if strings.HasSuffix(name, ending) {
			return true
		}
	}
	return false
}

func (p *project) apiConfig() doc {
	rest := p.setting("postgrest")
	return doc{
		"db_schema": rest["db_schema"], "db_extra_search_path": rest["db_extra_search_path"], "max_rows": rest["max_rows"],
		"db_pool": rest["db_pool"], "db_pool_acquisition_timeout": 10, "db_pool_max_lifetime": 1800, "db_pool_max_idletime": 30,
	}
}

func (p *project) realtimeConfig() doc {
	return with(doc{"postgres_changes_pool": nil}, p.setting("realtime"))
}

func (p *project) storageConfig() doc {
	storage := p.setting("storage")
	features := storage["features"].(doc)
	iceberg, vectors := features["icebergCatalog"].(doc), features["vectorBuckets"].(doc)
	capabilities := storage["capabilities"].(doc)
	return doc{
		"file_size_limit": storage["fileSizeLimit"], "migration_version": storage["migrationVersion"],
		"upstream_target": storage["external"].(doc)["upstreamTarget"],
		"capabilities":    doc{"list_v2": capabilities["list_v2"], "iceberg_catalog": capabilities["iceberg_catalog"], "object_versioning": false},
		"features": doc{
			"image_transformation": features["imageTransformation"], "s3_protocol": features["s3Protocol"],
			"purge_cache": doc{"enabled": false},
			"iceberg_catalog": doc{
				"enabled": iceberg["enabled"], "max_namespaces": iceberg["maxNamespaces"],
				"max_tables": iceberg["maxTables"], "max_catalogs": iceberg["maxCatalogs"],
			},
			"vector_buckets": doc{"enabled": vectors["enabled"], "max_buckets": vectors["maxBuckets"], "max_indexes": vectors["maxIndexes"]},
		},
	}
}
