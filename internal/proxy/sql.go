package proxy

import (
	"encoding/json"

	"corp.example/gateway/internal/audit"
)

// statement is the SQL of a call that runs some, without its literals; "" for other calls, and where the body is too large
// or no JSON object with a statement: what cannot be read is upstream's to refuse, and its hash is recorded anyway.
func (x *exchange) statement() string {
	switch x.call.Op.ID {
	case "v1-run-a-query", "v1-read-only-query", "v1-apply-a-migration", "v1-upsert-a-migration":
	default:
		return ""
	}
	fields, err := x.body.decidingFields()
	if err != nil {
		return ""
	}
	var sql string
	if err := json.Unmarshal(fields["query"], &sql); err != nil {
		return ""
	}
	return audit.RedactSQL(sql)
}
