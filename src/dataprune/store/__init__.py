"""Results on disk: atomic files with checksums, typed manifests, one writer at a time, one protocol for long work."""

from dataprune.store.arrays import Arrays, open_arrays, save_arrays
from dataprune.store.digests import array_digest, canonical_json, json_digest, sha256
from dataprune.store.files import check_writable, lock, read_json, sweep, write_json, writing
from dataprune.store.manifest import (
    FileRecord,
    Listing,
    as_record,
    as_written,
    faults,
    is_whole,
    manifest_beside,
    read_manifest,
    read_sealed,
    sealed,
    write_manifest,
    write_sealed,
)
from dataprune.store.outputs import WorkFolder, begun, check_new, publish_together

__all__ = [
    "Arrays",
    "FileRecord",
    "Listing",
    "WorkFolder",
    "array_digest",
    "as_record",
    "as_written",
    "begun",
    "canonical_json",
    "check_new",
    "check_writable",
    "faults",
    "is_whole",
    "json_digest",
    "lock",
    "manifest_beside",
    "open_arrays",
    "publish_together",
    "read_json",
    "read_manifest",
    "read_sealed",
    "save_arrays",
    "sealed",
    "sha256",
    "sweep",
    "write_json",
    "write_manifest",
    "write_sealed",
    "writing",
]
