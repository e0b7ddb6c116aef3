-- Version 4. What has been over for long is found without reading the whole history.

CREATE INDEX job_by_end ON job (changed) WHERE state IN ('archived', 'orphaned', 'superseded', 'vanished');
