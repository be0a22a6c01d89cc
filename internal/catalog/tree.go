package catalog

import (
	"net/http"
	"slices"
	"strings"
)

// node is one segment of the compiled templates. What a node holds is decided at load; matching only walks.
type node struct {
	static map[string]*node
	params []edge       // tried after static, in the order of the table
	ops    []*Operation // those whose template ends here, one per method
}

// edge leads on for segments that match a parameter's pattern.
type edge struct {
	name    string
	pattern *pattern
	next    *node
}

// insert adds an operation under its template. patterns holds the patterns of its parameters in order.
func (n *node) insert(op *Operation, patterns []*pattern) {
	for segment := range strings.SplitSeq(op.Path[1:], "/") {
		if name, isParam := paramName(segment); isParam {
			n = n.edgeTo(name, patterns[0])
			patterns = patterns[1:]
			continue
		}
		if n.static == nil {
			n.static = map[string]*node{}
		}
		if n.static[segment] == nil {
			n.static[segment] = &node{}
		}
		n = n.static[segment]
	}
	n.ops = append(n.ops, op)
}

// edgeTo returns the node behind a parameter of that pattern. Templates that name it differently share the node.
func (n *node) edgeTo(name string, p *pattern) *node {
	for i := range n.params {
		if n.params[i].pattern.source == p.source {
			return n.params[i].next
		}
	}
	n.params = append(n.params, edge{name: name, pattern: p, next: &node{}})
	return n.params[len(n.params)-1].next
}

// find returns the operation of that method for the path from its byte at on, and notes where the parameters stand.
// A static segment wins over a parameter; where it leads to no operation of this method the parameter is tried, as
// upstream's router does: GET …/functions/deploy is the function named "deploy", POST …/functions/deploy the deploying.
// Depth is bounded by the templates, width by the patterns at one position.
func (n *node) find(method, path string, at int, depth int, params *[maxParams]span) *Operation {
	if at > len(path) {
		for _, op := range n.ops {
			if op.Method == method {
				return op
			}
		}
		return nil
	}
	end := segmentEnd(path, at)
	segment := path[at:end]
	if next := n.static[segment]; next != nil {
		if op := next.find(method, path, end+1, depth, params); op != nil {
			return op
		}
	}
	for i := range n.params {
		if !n.params[i].pattern.match(segment) {
			continue
		}
		if op := n.params[i].next.find(method, path, end+1, depth+1, params); op != nil {
			params[depth] = span{uint16(at), uint16(end)}
			return op
		}
	}
	return nil
}

// methods returns the methods the table knows for a path: what Allow says.
func (n *node) methods(path string, at int) []string {
	if at > len(path) {
		var found []string
		for _, op := range n.ops {
			found = append(found, op.Method)
			if op.Method == http.MethodGet {
				found = append(found, http.MethodHead)
			}
		}
		return found
	}
	end := segmentEnd(path, at)
	var found []string
	if next := n.static[path[at:end]]; next != nil {
		found = next.methods(path, end+1)
	}
	for i := range n.params {
		if n.params[i].pattern.match(path[at:end]) {
			found = append(found, n.params[i].next.methods(path, end+1)...)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// refusing returns the parameter, and the segment it refused, at which a path leaves the table: the likeliest reason
// why it is unknown. ok is false where no parameter was in the way.
func (n *node) refusing(path string) (param, segment string, ok bool) {
	for at := 1; at <= len(path); {
		end := segmentEnd(path, at)
		next := n.static[path[at:end]]
		if next == nil {
			for i := range n.params {
				if n.params[i].pattern.match(path[at:end]) {
					next = n.params[i].next
					break
				}
			}
		}
		if next == nil {
			if len(n.params) == 0 {
				return "", "", false
			}
			return n.params[0].name, path[at:end], true
		}
		n, at = next, end+1
	}
	return "", "", false
}

func segmentEnd(path string, at int) int {
	if i := strings.IndexByte(path[at:], '/'); i >= 0 {
		return at + i
	}
	return len(path)
}

func paramName(segment string) (string, bool) {
	if len(segment) > 2 && segment[0] == '{' && segment[len(segment)-1] == '}' {
		return segment[1 : len(segment)-1], true
	}
	return "", false
}
