package sandbox

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func (s *Sandbox) databaseRoutes() []route {
	const base = "/v1/projects/{ref}/database"
	return []route{
		op("v1-run-a-query", "POST "+base+"/query", 201, s.query),
		op("v1-read-only-query", "POST "+base+"/query/read-only", 201, s.query),
		op("v1-get-database-metadata", "GET "+base+"/context", 200, fixed("database-context")),
		op("v1-get-database-openapi", "GET "+base+"/openapi", 200, fixed("database-openapi")),
		op("v1-update-database-password", "PATCH "+base+"/password", 200, s.updatePassword),
		op("v1-enable-database-webhook", "POST "+base+"/webhooks/enable", 201, nothing),
		op("v1-generate-typescript-types", "GET /v1/projects/{ref}/types/typescript", 200, s.generateTypes),
		op("v1-create-login-role", "POST /v1/projects/{ref}/cli/login-role", 201, s.createLoginRole),
		op("v1-delete-login-roles", "DELETE /v1/projects/{ref}/cli/login-role", 200, done),
		op("v1-get-readonly-mode-status", "GET /v1/projects/{ref}/readonly", 200, getSetting("readonly")),
		op("v1-disable-readonly-mode-temporarily", "POST /v1/projects/{ref}/readonly/temporary-disable", 201, s.disableReadonly),
		op("v1-setup-a-read-replica", "POST /v1/projects/{ref}/read-replicas/setup", 201, nothing),
		op("v1-remove-a-read-replica", "POST /v1/projects/{ref}/read-replicas/remove", 201, nothing),
	}
}

// writes recognises the statements that a read-only query may not be.
var writes = regexp.MustCompile(`(?i)^\s*(insert|update|delete|truncate|create|alter|drop|grant|revoke)\b`)

// literal recognises a query for one number or text, which is answered.
var literal = regexp.MustCompile(`(?i)^\s*select\s+(?:(-?\d+)|'([^']*)')(?:\s+as\s+"?(\w+)"?)?\s*;?\s*$`)

// query runs no SQL. It answers what the catalogue queries of well-known clients expect, literals with themselves, and
// everything else with no rows, as a statement without a result does.
func (s *Sandbox) query(c *call) (any, error) {
	var request struct {
		Query    string `json:"query"`
		ReadOnly bool   `json:"read_only"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if strings.TrimSpace(request.Query) == "" {
		return nil, refuse(http.StatusBadRequest, "query: Required")
	}
	if c.project.status.at(time.Now()) == inactive {
		return nil, refuse(544, "Failed to run sql query: Connection terminated due to connection timeout")
	}
	readOnly := request.ReadOnly || strings.HasSuffix(c.URL.Path, "/read-only")
	if m := writes.FindStringSubmatch(request.Query); readOnly && m != nil {
		return nil, refuse(http.StatusBadRequest, "Failed to run sql query: ERROR:  25006: cannot execute %s in a read-only transaction", strings.ToUpper(m[1]))
	}
	return c.project.rows(request.Query), nil
}

func (p *project) rows(sql string) []doc {
	rows := []doc{}
	switch {
	case strings.Contains(sql, "pg_available_extensions"):
		decoded(answerFile("extensions"), &rows)
	case strings.Contains(sql, "relrowsecurity"): // the catalogue query for tables
		decoded(answerFile("tables"), &rows)
	case strings.Contains(sql, "schema_migrations"):
		for _, m := range p.migrations {
			rows = append(rows, doc{"version": m.Version, "name": m.Name, "statements": m.Statements})
		}
	case literal.MatchString(sql):
		m := literal.FindStringSubmatch(sql)
		name, value := m[3], any(m[2])
		if name == "" {
			name = "?column?" // what PostgreSQL calls it
		}
		if n, err := strconv.ParseInt(m[1], 10, 64); err == nil {
			value = n
		}
		rows = append(rows, doc{name: value})
	}
	return rows
}

func (s *Sandbox) updatePassword(c *call) (any, error) {
	var request struct {
		Password string `json:"password"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if len(request.Password) < 4 {
		return nil, refuse(http.StatusBadRequest, "password: String must contain at least 4 character(s)")
	}
	return doc{"message": "Successfully updated password"}, nil
}

// types is what the code generator makes of the tables that every project of the stand-in has.
const types = `export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[]

export type Database = {
  public: {
    Tables: {
      customers: {
        Row: { created_at: string; email: string; id: number }
        Insert: { created_at?: string; email: string; id?: never }
        Update: { created_at?: string; email?: string; id?: never }
        Relationships: []
      }
      orders: {
        Row: { customer_id: number; id: number; total: number }
        Insert: { customer_id: number; id?: never; total: number }
        Update: { customer_id?: number; id?: never; total?: number }
        Relationships: []
      }
    }
    Views: { [_ in never]: never }
    Functions: { [_ in never]: never }
    Enums: { [_ in never]: never }
    CompositeTypes: { [_ in never]: never }
  }
}
`

func (s *Sandbox) generateTypes(*call) (any, error) { return doc{"types": types}, nil }

func (s *Sandbox) createLoginRole(c *call) (any, error) {
	var request struct {
		ReadOnly bool `json:"read_only"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	role := "cli_login_postgres"
	if request.ReadOnly {
		role = "cli_login_supabase_read_only_user"
	}
	return doc{"role": role, "password": "sandbox-password-" + newID(), "ttl_seconds": 300}, nil
}

func (s *Sandbox) disableReadonly(c *call) (any, error) {
	mode := c.project.setting("readonly")
	mode["override_enabled"], mode["override_active_until"] = true, stamp(time.Now().Add(15*time.Minute))
	return nil, nil
}
