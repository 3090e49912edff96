-- The schemas of node reports: the argument detail of report_job(), and the argument
-- evidence of record_evidence(). REST v1 shows parts of them in responses, whose schemas are
-- open; schema_problem() closes them to nodes.

INSERT INTO walwarden_internal.json_schema (name, schema) VALUES
('JobError', '{
  "type": ["object", "null"],
  "required": ["class", "message", "retryable"],
  "properties": {
    "class": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[a-z0-9_.-]+$", "examples": ["destination_unreachable"]},
    "message": {"type": "string", "minLength": 1, "maxLength": 1000, "examples": ["connection refused"]},
    "retryable": {"description": "Whether the same work may succeed later.", "type": "boolean", "examples": [true]},
    "blames": {"description": "What is at fault; node if the report does not say. Only backup refutes the evidence of the backup.", "type": "string", "enum": ["backup", "target", "node"], "examples": ["node"]}
  }}'),

('Artifact', '{
  "type": ["object", "null"],
  "required": ["name", "sizeBytes", "checksumSha256"],
  "properties": {
    "name": {"type": "string", "maxLength": 500, "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$", "examples": ["orders/2026-11-21/base.tar.zst"]},
    "sizeBytes": {"type": "integer", "minimum": 0, "examples": [73400320]},
    "checksumSha256": {"type": "string", "pattern": "^[0-9a-f]{64}$", "examples": ["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]}
  }}'),

('Validation', '{
  "description": "The checks that a node ran on the restored database.",
  "type": ["object", "null"],
  "required": ["result"],
  "properties": {
    "result": {"type": "string", "enum": ["passed", "failed", "not_run"], "examples": ["passed"]},
    "checks": {"type": "array", "maxItems": 50, "items": {"type": "object", "required": ["name", "result"], "properties": {
      "name": {"type": "string", "minLength": 1, "maxLength": 100, "examples": ["row_counts"]},
      "result": {"type": "string", "enum": ["passed", "failed", "not_run"], "examples": ["passed"]},
      "detail": {"type": "string", "minLength": 1, "maxLength": 500, "examples": ["412 tables"]}}}},
    "measured": {"description": "How long the node took, in seconds.", "type": "object", "required": ["fetchSeconds", "restoreSeconds", "checkSeconds"], "properties": {
      "fetchSeconds": {"description": "To fetch the backup and verify it.", "type": "integer", "minimum": 0, "examples": [40]},
      "restoreSeconds": {"description": "To restore it into the target.", "type": "integer", "minimum": 0, "examples": [310]},
      "checkSeconds": {"description": "To check the restored database.", "type": "integer", "minimum": 0, "examples": [25]}}}
  }}'),

('IntegrityVerification', '{
  "type": "object",
  "required": ["result", "checkedAt", "tool"],
  "properties": {
    "result": {"type": "string", "enum": ["passed", "failed", "not_run"], "examples": ["passed"]},
    "checkedAt": {"type": ["string", "null"], "format": "date-time"},
    "tool": {"type": ["string", "null"], "minLength": 1, "maxLength": 100, "examples": ["pg_verifybackup 15.10"]}
  }}'),

('JobReport', '{
  "type": "object",
  "properties": {
    "artifact": {"$ref": "#/components/schemas/Artifact"},
    "validation": {"$ref": "#/components/schemas/Validation"},
    "error": {"$ref": "#/components/schemas/JobError"}
  }}'),

('DestinationReport', '{
  "type": "object",
  "properties": {
    "class": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[a-z0-9_.-]+$", "examples": ["access_denied"]},
    "message": {"type": "string", "minLength": 1, "maxLength": 1000, "examples": ["the bucket does not accept the key"]}
  }}'),

('EvidenceReport', '{
  "type": "object",
  "required": ["manifest", "integrityVerification", "recoverableTo"],
  "properties": {
    "manifest": {"type": "object"},
    "integrityVerification": {"$ref": "#/components/schemas/IntegrityVerification"},
    "recoverableFrom": {"type": "string", "format": "date-time"},
    "recoverableTo": {"type": "string", "format": "date-time"}
  }}');
