package sandbox

// World is what exists when a Sandbox starts. Refs are twenty lower-case letters, ids are UUIDs, as upstream's are.
type World struct {
	Organizations []Organization
	Projects      []Project
	Branches      []Branch
	Snippets      []Snippet
}

// Organization is one organization of the seed.
type Organization struct {
	Slug string // also its id
	Name string
	Plan string // free, pro, team or enterprise
}

// Project is one project of the seed.
type Project struct {
	Ref          string
	Name         string
	Organization string // slug
	Region       string
	Paused       bool // INACTIVE instead of ACTIVE_HEALTHY
}

// Branch is one preview branch of the seed. Its parent's own default branch, "main", comes by itself.
type Branch struct {
	ID         string
	Ref        string // of the branch's own project
	Name       string
	Parent     string // ref
	GitBranch  string // "" for none
	Persistent bool
}

// Snippet is one saved query of the seed.
type Snippet struct {
	ID      string
	Name    string
	Project string // ref
	SQL     string
}

func (w World) empty() bool { return len(w.Organizations) == 0 && len(w.Projects) == 0 }

// Names of the seed that tests and the demo speak of.
const (
	Acme   = "acme"              // the organization of five projects
	Globex = "globex-industries" // the organization of three

	Payments   = "abcdefghijklmnopqrst" // acme's, with the branches "staging" and "refund-flow"
	Ledger     = "kzwqmvtydhbfrnoxjlpe" // acme's
	Storefront = "rtqhwnbxmkvzpfjdysgc" // acme's, with the branch "checkout-redesign"
	Identity   = "ulqyavkxnwdtzmebhroc" // acme's
	Warehouse  = "gdpxcsnkqjvmfyblzwth" // acme's, paused
	Telemetry  = "yhbnwrkdmztxqgfpvjsc" // globex's
	FieldApp   = "mvxqpzkrtwjdhyfnblgs" // globex's, with the branch "develop"
	Billing    = "wzjkfdqrnpxmtyvhgbcl" // globex's

	PaymentsStaging    = "sqtmwzhyxkbrnvdfjplg" // ref of the branch "staging" of Payments
	PaymentsRefundFlow = "nfkrxdwqvbztjhpymglc" // ref of the branch "refund-flow" of Payments
)

// Seed is the world of the demo and the tests: two organizations, eight projects, four branches, six snippets.
func Seed() World {
	return World{
		Organizations: []Organization{
			{Slug: Acme, Name: "Acme", Plan: "team"},
			{Slug: Globex, Name: "Globex Industries", Plan: "pro"},
		},
		Projects: []Project{
			{Ref: Payments, Name: "payments", Organization: Acme, Region: "eu-central-1"},
			{Ref: Ledger, Name: "ledger", Organization: Acme, Region: "eu-central-1"},
			{Ref: Storefront, Name: "storefront", Organization: Acme, Region: "eu-west-1"},
			{Ref: Identity, Name: "identity", Organization: Acme, Region: "eu-central-1"},
			{Ref: Warehouse, Name: "warehouse-2024", Organization: Acme, Region: "us-east-1", Paused: true},
			{Ref: Telemetry, Name: "telemetry", Organization: Globex, Region: "us-west-2"},
			{Ref: FieldApp, Name: "field-app", Organization: Globex, Region: "ap-southeast-1"},
			{Ref: Billing, Name: "billing", Organization: Globex, Region: "us-east-1"},
		},
		Branches: []Branch{
			{ID: "3f9a2c1e-7b64-4d0e-9a51-6c8e2f10b7d3", Ref: PaymentsStaging, Name: "staging", Parent: Payments, GitBranch: "staging", Persistent: true},
			{ID: "b82d5e90-14c7-4f3b-8e6d-0a9f73c15e24", Ref: PaymentsRefundFlow, Name: "refund-flow", Parent: Payments, GitBranch: "feat/refund-flow"},
			{ID: "5c0e7d38-a9f2-4b16-b3c4-e27d91f8605a", Ref: "pxwkzrvdhqnfmtbjylgc", Name: "checkout-redesign", Parent: Storefront, GitBranch: "checkout-redesign"},
			{ID: "e1746fb2-3d8a-4c95-a07e-58b2c9d4f613", Ref: "hjtqwxmznrkdvpbfyglc", Name: "develop", Parent: FieldApp, Persistent: true},
		},
		Snippets: []Snippet{
			{ID: "0d6a1f7e-52c3-4e8b-9f04-b7c2e83d1a65", Name: "Payments per day", Project: Payments, SQL: "select date_trunc('day', created_at) as day, count(*) from payments group by 1 order by 1 desc"},
			{ID: "7e2b9c04-8f1d-4a63-b5e7-1c90d4f6a832", Name: "Open refunds", Project: Payments, SQL: "select id, amount, reason from refunds where settled_at is null"},
			{ID: "a41c8e57-0b96-4d2f-8c3a-9e75f1b0d268", Name: "Unbalanced entries", Project: Ledger, SQL: "select entry_id, sum(debit) - sum(credit) as gap from lines group by 1 having sum(debit) <> sum(credit)"},
			{ID: "c93f5d12-6e4b-4807-a1d9-3b8e0f72c546", Name: "Abandoned baskets", Project: Storefront, SQL: "select count(*) from baskets where updated_at < now() - interval '1 day' and ordered_at is null"},
			{ID: "f5280b6d-9c17-4e3a-b64f-d07a2e81c395", Name: "Devices by firmware", Project: Telemetry, SQL: "select firmware, count(*) from devices group by 1 order by 2 desc"},
			{ID: "18d7e4a3-c05f-4b92-9e86-5f3c1a7d0b24", Name: "Invoices overdue", Project: Billing, SQL: "select customer_id, sum(total) from invoices where due_on < current_date and paid_on is null group by 1"},
		},
	}
}
