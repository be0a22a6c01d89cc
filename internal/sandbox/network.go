package sandbox

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// cidrs are the networks that may reach a project's database. It is replaced whole when it changes.
type cidrs struct {
	V4 []string `json:"dbAllowedCidrs,omitempty"`
	V6 []string `json:"dbAllowedCidrsV6,omitempty"`
}

// restrictions are a project's network restrictions. The zero value restricts nobody.
type restrictions struct {
	now, before *cidrs // nil now: everywhere; nil before: never changed
	changed     time.Time
}

func (r *restrictions) current() cidrs {
	if r.now == nil {
		return cidrs{V4: []string{"0.0.0.0/0"}, V6: []string{"::/0"}}
	}
	return *r.now
}

// set replaces the restrictions and remembers those before.
func (r *restrictions) set(to cidrs) {
	before := r.current()
	r.now, r.before, r.changed = &to, &before, time.Now()
}

// shown is the restrictions as an answer gives them, each list of networks in the form that form gives it.
func (r *restrictions) shown(form func(cidrs) any) doc {
	d := doc{"entitlement": "allowed", "config": form(r.current()), "status": "applied"}
	if r.before != nil {
		d["old_config"], d["updated_at"], d["applied_at"] = form(*r.before), stamp(r.changed), stamp(r.changed)
	}
	return d
}

// byFamily is the older form: a list for each address family.
func byFamily(c cidrs) any { return c }

// tagged is the newer form: one list, each network with its family.
func tagged(c cidrs) any {
	list := []doc{}
	for _, address := range c.V4 {
		list = append(list, doc{"address": address, "type": "v4"})
	}
	for _, address := range c.V6 {
		list = append(list, doc{"address": address, "type": "v6"})
	}
	return doc{"dbAllowedCidrs": list}
}

func (s *Sandbox) networkRoutes() []route {
	const bans, restrictions = "/v1/projects/{ref}/network-bans", "/v1/projects/{ref}/network-restrictions"
	return []route{
		op("v1-list-all-network-bans", "POST "+bans+"/retrieve", 201, s.listBans),
		op("v1-list-all-network-bans-enriched", "POST "+bans+"/retrieve/enriched", 201, s.listBansEnriched),
		op("v1-delete-network-bans", "DELETE "+bans, 200, s.deleteBans),
		op("v1-get-network-restrictions", "GET "+restrictions, 200, s.getRestrictions),
		op("v1-patch-network-restrictions", "PATCH "+restrictions, 200, s.patchRestrictions),
		op("v1-update-network-restrictions", "POST "+restrictions+"/apply", 201, s.applyRestrictions),
		op("v1ReviewNetworkRestrictions", "POST "+restrictions+"/review", 201, s.getRestrictions),
	}
}

// seedBans are addresses that gave wrong passwords too often.
func seedBans() []string { return []string{"203.0.113.7", "198.51.100.23"} }

func (s *Sandbox) listBans(c *call) (any, error) {
	return doc{"banned_ipv4_addresses": append([]string{}, c.project.bans...)}, nil
}

func (s *Sandbox) listBansEnriched(c *call) (any, error) {
	items := []doc{}
	for _, address := range c.project.bans {
		items = append(items, doc{"banned_address": address, "identifier": c.project.ref, "type": "postgres"})
	}
	return doc{"banned_ipv4_addresses": items}, nil
}

func (s *Sandbox) deleteBans(c *call) (any, error) {
	var request struct {
		Addresses []string `json:"ipv4_addresses"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	c.project.bans = slices.DeleteFunc(c.project.bans, func(a string) bool { return slices.Contains(request.Addresses, a) })
	return nil, nil
}

func (s *Sandbox) getRestrictions(c *call) (any, error) {
	return c.project.restrictions.shown(byFamily), nil
}

// check refuses what is no network.
func (c cidrs) check() error {
	for _, address := range slices.Concat(c.V4, c.V6) {
		if _, err := netip.ParsePrefix(address); err != nil {
			return refuse(http.StatusBadRequest, "%q is not a CIDR", address)
		}
	}
	return nil
}

func (s *Sandbox) applyRestrictions(c *call) (any, error) {
	var request cidrs
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if err := request.check(); err != nil {
		return nil, err
	}
	c.project.restrictions.set(request)
	return c.project.restrictions.shown(byFamily), nil
}

func (s *Sandbox) patchRestrictions(c *call) (any, error) {
	var request struct{ Add, Remove cidrs }
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if err := request.Add.check(); err != nil {
		return nil, err
	}
	now := c.project.restrictions.current()
	c.project.restrictions.set(cidrs{
		V4: changed(now.V4, request.Add.V4, request.Remove.V4),
		V6: changed(now.V6, request.Add.V6, request.Remove.V6),
	})
	return c.project.restrictions.shown(tagged), nil
}

// changed is list with more and without less, sorted, each once.
func changed(list, more, less []string) []string {
	all := slices.DeleteFunc(slices.Concat(list, more), func(a string) bool { return slices.Contains(less, a) })
	slices.SortFunc(all, strings.Compare)
	return slices.Compact(all)
}
