package schemas

import "embed"

// SchemaFS holds the published JSON Schemas of commands, events and notices, by file name.
//
//go:embed refund-command.schema.json refund-event.schema.json refund-notice.schema.json
var SchemaFS embed.FS

// Files of SchemaFS.
const (
	CommandSchemaFile = "refund-command.schema.json"
	EventSchemaFile   = "refund-event.schema.json"
	NoticeSchemaFile  = "refund-notice.schema.json"
)
