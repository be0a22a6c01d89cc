package sandbox

import (
	"net/http"
	"time"
)

func (s *Sandbox) backupRoutes() []route {
	const base = "/v1/projects/{ref}/database/backups"
	return []route{
		op("v1-list-all-backups", "GET "+base, 200, s.listBackups),
		op("v1-restore-physical-backup", "POST "+base+"/restore", 201, s.restoreBackup),
		op("v1-restore-pitr-backup", "POST "+base+"/restore-pitr", 201, s.restoreBackup),
		op("v1-get-restore-point", "GET "+base+"/restore-point", 200, getSetting("restore-point")),
		op("v1-create-restore-point", "POST "+base+"/restore-point", 201, s.createRestorePoint),
		op("v1-undo", "POST "+base+"/undo", 201, s.restoreBackup),
		op("v1-get-backup-schedule", "GET "+base+"/schedule", 200, getSetting("backup-schedule")),
		op("v1-update-backup-schedule", "PATCH "+base+"/schedule", 200, s.updateSchedule),
	}
}

func (s *Sandbox) listBackups(c *call) (any, error) {
	backups := c.project.setting("backups")
	backups["region"] = c.project.region
	return backups, nil
}

// restoreBackup brings the project through its restoration; there is no data to bring back.
func (s *Sandbox) restoreBackup(c *call) (any, error) {
	s.become(c.project, restoring, activeHealthy)
	return nil, nil
}

func (s *Sandbox) createRestorePoint(c *call) (any, error) {
	var request struct {
		Name string `json:"name"`
	}
	if err := c.decode(&request); err != nil {
		return nil, err
	}
	if request.Name == "" || len(request.Name) > 20 {
		return nil, refuse(http.StatusBadRequest, "name: must have 1 to 20 characters")
	}
	point := c.project.setting("restore-point")
	merge(point, doc{"name": request.Name, "completed_on": stamp(time.Now())})
	return point, nil
}

func (s *Sandbox) updateSchedule(c *call) (any, error) {
	if _, err := changeSetting("backup-schedule")(c); err != nil {
		return nil, err
	}
	schedule := c.project.setting("backup-schedule")
	schedule["updated_at"] = stamp(time.Now())
	return schedule, nil
}
