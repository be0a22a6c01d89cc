package backplane

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// place is a parsed URL.
type place struct {
	addresses []string
	user      string
	database  int
	master    string // of Sentinel
	cluster   bool
	tls       bool
}

const urlForms = "want redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,HOST:PORT/DB?master=NAME or redis+cluster://HOST:PORT,HOST:PORT, or the same with rediss for TLS"

// CheckURL reports what is wrong with a URL, without what it may hold of a password.
func CheckURL(raw string) error {
	_, err := parse(raw)
	return err
}

func parse(raw string) (place, error) {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		return place{}, errors.New("is no URL: " + urlForms)
	}
	base, kind, _ := strings.Cut(scheme, "+")
	out := place{tls: base == "rediss", cluster: kind == "cluster"}
	if base != "redis" && base != "rediss" || kind != "" && kind != "cluster" && kind != "sentinel" {
		return place{}, fmt.Errorf("has the unknown scheme %q: %s", scheme, urlForms)
	}
	authority, path, _ := strings.Cut(rest, "/")
	authority, query, hasQuery := strings.Cut(authority, "?")
	if !hasQuery {
		path, query, _ = strings.Cut(path, "?")
	}
	if user, hosts, named := cutLast(authority, "@"); named {
		if strings.Contains(user, ":") {
			return place{}, errors.New("holds a password: name the place where it is kept in state.redis.password")
		}
		out.user, authority = user, hosts
	}
	for address := range strings.SplitSeq(authority, ",") {
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			return place{}, fmt.Errorf("has the address %q, want HOST:PORT", address)
		}
		out.addresses = append(out.addresses, address)
	}
	if kind == "" && len(out.addresses) > 1 {
		return place{}, errors.New("names several servers: say redis+sentinel:// or redis+cluster://")
	}
	return out.options(kind, path, query)
}

// options reads what stands behind the addresses: the database's number, and the master's name.
func (p place) options(kind, path, query string) (place, error) {
	if path != "" {
		number, err := strconv.Atoi(path)
		if err != nil || number < 0 {
			return place{}, fmt.Errorf("has %q where the number of a database stands", path)
		}
		if p.database = number; number != 0 && p.cluster {
			return place{}, errors.New("names a database: Redis Cluster has only database 0")
		}
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return place{}, fmt.Errorf("has a query that cannot be read: %w", err)
	}
	for name := range values {
		if name != "master" || kind != "sentinel" {
			return place{}, fmt.Errorf("has the unknown option %q: %s", name, urlForms)
		}
	}
	if p.master = values.Get("master"); kind == "sentinel" && p.master == "" {
		return place{}, errors.New("does not name the master: add ?master=NAME")
	}
	return p, nil
}

func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return "", s, false
}
