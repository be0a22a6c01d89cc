package audit

// NewSync is how a log syncs its files.
var NewSync = newSync
