package rig

import (
	"net"
	"os"
)

// Redis is a running redis-server that keeps nothing on disk.
type Redis struct {
	*Process
	URL     string // as gateway.yaml takes it
	Address string
	dir     string
}

// StartRedis runs a Redis in a folder, beside the load.
func StartRedis(dir string) (*Redis, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	r := &Redis{URL: "redis://" + address + "/0", Address: address, dir: dir}
	return r, r.Launch()
}

// Launch starts the process; who killed it calls it to start it again, empty.
func (r *Redis) Launch() (err error) {
	host, port, err := net.SplitHostPort(r.Address)
	if err != nil {
		return err
	}
	if r.Process, err = StartBeside("redis-server", "--bind", host, "--port", port, "--dir", r.dir, "--save", "", "--appendonly", "no"); err != nil {
		return err
	}
	return r.AwaitListening(r.Address)
}
