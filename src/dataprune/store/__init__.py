"""Results on disk: atomic files with checksums, typed manifests, one writer at a time, one protocol for long work."""

from dataprune.store.arrays import Arrays, array_digest, canonical_json, json_digest, open_arrays, save_arrays, sha256
from dataprune.store.files import check_writable, lock, read_json, sweep, taken, write_json, writing
from dataprune.store.manifest import (
    FileRecord,
    Listing,
    as_record,
    as_written,
    beside,
    check_beside,
    faults,
    is_whole,
    manifest_beside,
    read_manifest,
    read_sealed,
    sealed,
    speaks_for,
    write_manifest,
    write_sealed,
)
from dataprune.store.outputs import WorkFolder, begun, check_new, publish_together
