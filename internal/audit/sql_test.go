package audit_test

import (
	"fmt"
	"strings"
	"testing"

	"corp.example/gateway/internal/audit"
)

// statements and what is left of them.
var statements = map[string]string{
	"select 1": "select ?",
	"SELECT * FROM users WHERE email = 'ada@corp.example' AND age > 42": "SELECT * FROM users WHERE email = ? AND age > ?",
	"insert into t values ('it''s', -1.5e-10, .5, 0x1F, 1_000)":         "insert into t values (?, -?, ?, ?, ?)",
	`select E'a\'b', e'\\', 'c'`:                                        "select ?, ?, ?",
	`select B'1010', X'1F', N'a', U&'\0061'`:                            "select ?, ?, ?, U&?",
	"select $$it's$$, $tag$ $$ inner $tag$ from t":                      "select ?, ? from t",
	"select a$1, $2 from t2 where x=$3;":                                "select a$1, $n from t2 where x=$n;",
	"select 1 -- the key is hunter2\n, 2":                               "select ? , ?",
	"select 1 --\rdrop table t; -- and\r\ndrop table u -- the end":      "select ? drop table t; drop table u",
	"select 1$$my hunter2$$, $1$x$hunter2$x$":                           "select ??, $n?",
	"select /* a /* nested */ 'still' */ b":                             "select b",
	`select "Name", "user-id", "ada@corp.example", "a""b" from "t"`:     `select "Name", "user-id", "?", "?" from "t"`,
	"select 'never ends":                                                "select ?…",
	"select /* never ends":                                              "select …",
	"select $x$ never ends $y$":                                         "select ?…",
	`select "never ends`:                                                "select …",
	`select 'a\', 'hunter2'`:                                            "select ?…", // one string, or two
	"copy t from stdin;\nhunter2\t1\n\\.":                               "copy t from stdin…",
	"select 'x'::text, interval '1 day', true, null":                    "select ?::text, interval ?, true, null",
	"select\n\n\ta,\r\n b":                                              "select a, b",
	"select 12abc, t.c1":                                                "select ?, t.c1",
	"select " + strings.Repeat("x", 64):                                 "select ?",
	"select sbp_0123456789abcdef0123456789abcdef01234567":               "select sbp_[redacted]",
	"select größe from straße":                                          "select größe from straße",
	"":                                                                  "",
}

func TestRedactSQL(t *testing.T) {
	for sql, want := range statements {
		if got := audit.RedactSQL(sql); got != want {
			t.Errorf("RedactSQL(%q)\n got %q\nwant %q", sql, got, want)
		}
	}
}

// FuzzRedactSQL: whatever is redacted, no quote and no number is left.
func FuzzRedactSQL(f *testing.F) {
	for sql := range statements {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		got := audit.RedactSQL(sql)
		if strings.Contains(got, "'") {
			t.Errorf("RedactSQL(%q) = %q holds a quote", sql, got)
		}
		before := byte(' ')
		for i := range len(got) {
			c := got[i]
			word := func(c byte) bool {
				return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '$' || c == '-' || c >= 0x80
			}
			if '0' <= c && c <= '9' && !word(before) && before != '"' {
				t.Errorf("RedactSQL(%q) = %q holds a number at %d", sql, got, i)
			}
			before = c
		}
		if len(got) > 4*len(sql)+8 {
			t.Errorf("RedactSQL(%q) grew to %q", sql, got)
		}
	})
}

// FuzzNoLiteralSurvives builds statements of which it is known what is a literal, in every form and beside everything.
func FuzzNoLiteralSurvives(f *testing.F) {
	f.Add([]byte{0, 3, 1, 4, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, "x", uint32(7))
	f.Add([]byte{20, 4, 21, 4, 22, 4, 35, 68}, `\'--/*$$"`, uint32(1))
	f.Fuzz(func(t *testing.T, plan []byte, inner string, n uint32) {
		const mark = "ZqSecretqZ"
		digits := fmt.Sprintf("7%09d3", n)
		body := mark + inner + mark
		plain := strings.NewReplacer("'", "''", "\\'", "").Replace(strings.ReplaceAll(body, "\\", "/"))
		pieces := []string{
			"select", "t.c", "\"Name\"", "(", ")", ",", "=", "||", "::text", ";", "$1", "-", "%", "<@",
			"'" + plain + "'",
			"E'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(body) + "'",
			"N'" + plain + "'",
			"X'" + plain + "'",
			"U&'" + plain + "'",
			"$$" + strings.ReplaceAll(body, "$", "") + "$$",
			"$q1$" + strings.ReplaceAll(body, "$", "") + "$q1$",
			"-- " + strings.NewReplacer("\n", " ", "\r", " ").Replace(body) + "\n",
			"/* " + strings.NewReplacer("/", "", "*", "").Replace(body) + " /* " + mark + " */ " + mark + " */",
			digits, digits + ".5", "." + digits, digits + "e-3", "0x" + digits, digits + "_000",
		}
		var sql strings.Builder
		for _, b := range plan {
			sql.WriteString(pieces[int(b>>1)%len(pieces)])
			sql.WriteString([]string{" ", "\n"}[b&1])
		}
		got := audit.RedactSQL(sql.String())
		if strings.Contains(got, mark) || strings.Contains(got, digits) {
			t.Errorf("RedactSQL(%q) = %q", sql.String(), got)
		}
	})
}
