package sandbox

import (
	"net/http"
	"slices"
	"time"
)

// setting is one of the project's configuration documents. It begins as the embedded one of that name.
func (p *project) setting(name string) doc {
	if _, begun := p.settings[name]; !begun {
		var d doc
		decoded(forProject(answerFile(name), p.ref), &d)
		p.settings[name] = d
	}
	return p.settings[name]
}

// list is one of the project's lists of things that clients add and remove. It begins as the embedded one of that name.
func (p *project) list(name string) []doc {
	if _, begun := p.lists[name]; !begun {
		var list []doc
		decoded(forProject(answerFile(name), p.ref), &list)
		p.lists[name] = list
	}
	return p.lists[name]
}

// listed finds one thing of a list by its id.
func (p *project) listed(list, id, what string) (doc, error) {
	for _, d := range p.list(list) {
		if d["id"] == id {
			return d, nil
		}
	}
	return nil, missing(what)
}

func (p *project) addItem(list string, d doc) { p.lists[list] = append(p.list(list), d) }

func (p *project) removeItem(list, id string) {
	p.lists[list] = slices.DeleteFunc(p.list(list), func(d doc) bool { return d["id"] == id })
}

// merge writes into d what changes says of the fields d has, going down into objects. Other fields are ignored: what
// the stand-in answers keeps its published shape.
func merge(d, changes doc) {
	for name, value := range changes {
		old, known := d[name]
		if !known {
			continue
		}
		oldDoc, isDoc := old.(doc)
		if newDoc, both := value.(doc); isDoc && both {
			merge(oldDoc, newDoc)
			continue
		}
		d[name] = value
	}
}

// getSetting answers with a setting.
func getSetting(name string) func(*call) (any, error) {
	return func(c *call) (any, error) { return c.project.setting(name), nil }
}

// changeSetting merges the body into a setting and answers with it.
func changeSetting(name string) func(*call) (any, error) {
	return func(c *call) (any, error) {
		var changes doc
		if err := c.decode(&changes); err != nil {
			return nil, err
		}
		merge(c.project.setting(name), changes)
		return c.project.setting(name), nil
	}
}

// quietly is an operation that answers without a body.
func quietly(perform func(*call) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		_, err := perform(c)
		return nil, err
	}
}

// settingRoutes are the operations that read and change a project's configuration as it is.
func (s *Sandbox) settingRoutes() []route {
	return []route{
		op("v1-get-postgrest-service-config", "GET /v1/projects/{ref}/postgrest", 200, getSetting("postgrest")),
		op("v1-update-postgrest-service-config", "PATCH /v1/projects/{ref}/postgrest", 200, s.updatePostgrest),
		op("v1-get-postgres-config", "GET /v1/projects/{ref}/config/database/postgres", 200, getSetting("postgres")),
		op("v1-update-postgres-config", "PUT /v1/projects/{ref}/config/database/postgres", 200, changeSetting("postgres")),
		op("v1PatchPostgresConfig", "PATCH /v1/projects/{ref}/config/database/postgres", 200, changeSetting("postgres")),
		op("v1-get-project-pgbouncer-config", "GET /v1/projects/{ref}/config/database/pgbouncer", 200, getSetting("pgbouncer")),
		op("v1-get-pooler-config", "GET /v1/projects/{ref}/config/database/pooler", 200, s.getPooler),
		op("v1-update-pooler-config", "PATCH /v1/projects/{ref}/config/database/pooler", 200, s.updatePooler),
		op("v1-get-realtime-config", "GET /v1/projects/{ref}/config/realtime", 200, getSetting("realtime")),
		op("v1-update-realtime-config", "PATCH /v1/projects/{ref}/config/realtime", 204, quietly(changeSetting("realtime"))),
		op("v1-shutdown-realtime", "POST /v1/projects/{ref}/config/realtime/shutdown", 204, nothing),
		op("v1-get-storage-config", "GET /v1/projects/{ref}/config/storage", 200, getSetting("storage")),
		op("v1-update-storage-config", "PATCH /v1/projects/{ref}/config/storage", 200, quietly(changeSetting("storage"))),
		op("v1-list-all-buckets", "GET /v1/projects/{ref}/storage/buckets", 200, fixed("buckets")),
		op("v1-get-database-disk", "GET /v1/projects/{ref}/config/disk", 200, getSetting("disk")),
		op("v1-modify-database-disk", "POST /v1/projects/{ref}/config/disk", 201, s.modifyDisk),
		op("v1-get-project-disk-autoscale-config", "GET /v1/projects/{ref}/config/disk/autoscale", 200, fixed("disk-autoscale")),
		op("v1-get-disk-utilization", "GET /v1/projects/{ref}/config/disk/util", 200, fixed("disk-util")),
		op("v1-get-pgsodium-config", "GET /v1/projects/{ref}/pgsodium", 200, getSetting("pgsodium")),
		op("v1-update-pgsodium-config", "PUT /v1/projects/{ref}/pgsodium", 200, changeSetting("pgsodium")),
		op("v1-get-jit-access-config", "GET /v1/projects/{ref}/jit-access", 200, getSetting("jit-access")),
		op("v1-update-jit-access-config", "PUT /v1/projects/{ref}/jit-access", 200, changeSetting("jit-access")),
		op("v1-get-ssl-enforcement-config", "GET /v1/projects/{ref}/ssl-enforcement", 200, getSetting("ssl-enforcement")),
		op("v1-update-ssl-enforcement-config", "PUT /v1/projects/{ref}/ssl-enforcement", 200, s.updateSSL),
	}
}

// updatePostgrest answers without the JWT secret that reading shows.
func (s *Sandbox) updatePostgrest(c *call) (any, error) {
	if _, err := changeSetting("postgrest")(c); err != nil {
		return nil, err
	}
	shown := doc{}
	for _, name := range []string{"db_schema", "max_rows", "db_extra_search_path", "db_pool"} {
		shown[name] = c.project.setting("postgrest")[name]
	}
	return shown, nil
}

// getPooler lists the one pooler that a project without replicas has.
func (s *Sandbox) getPooler(c *call) (any, error) { return []doc{c.project.setting("pooler")}, nil }

func (s *Sandbox) updatePooler(c *call) (any, error) {
	if _, err := changeSetting("pooler")(c); err != nil {
		return nil, err
	}
	pooler := c.project.setting("pooler")
	return doc{"default_pool_size": pooler["default_pool_size"], "pool_mode": pooler["pool_mode"]}, nil
}

// modifyDisk replaces the disk's attributes, whose fields depend on its type.
func (s *Sandbox) modifyDisk(c *call) (any, error) {
	var request struct {
		Attributes doc `json:"attributes"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.Attributes["type"] == nil {
		return nil, refuse(http.StatusBadRequest, "attributes: Required")
	}
	disk := c.project.setting("disk")
	disk["attributes"], disk["last_modified_at"] = request.Attributes, stamp(time.Now())
	return nil, nil
}

func (s *Sandbox) updateSSL(c *call) (any, error) {
	var request struct {
		Requested doc `json:"requestedConfig"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	enforcement := c.project.setting("ssl-enforcement")
	merge(enforcement["currentConfig"].(doc), request.Requested)
	return enforcement, nil
}
