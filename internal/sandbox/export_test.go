package sandbox

// Operation is one operation as the table of routes has it.
type Operation struct {
	ID, Pattern string
	Status      int
}

// Operations are all operations of a Sandbox.
func (s *Sandbox) Operations() []Operation {
	var all []Operation
	for _, r := range s.routes() {
		all = append(all, Operation{r.id, r.pattern, r.status})
	}
	return all
}

// Route tells what rate limits count a request by.
var Route = (*Sandbox).route

// UserID is the id a token's owner is known by.
var UserID = userID
