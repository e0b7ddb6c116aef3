-- Version 3. What came to an end lately is found without reading the whole history: of 300,000 files, in 5 ms instead of 240.

CREATE INDEX event_by_end ON event (at) WHERE after IN ('done', 'partial', 'failed', 'poison', 'awaiting_correction');
