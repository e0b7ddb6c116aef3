"""The identity of a file."""

from __future__ import annotations

import json
import os

from hypothesis import given
from hypothesis import strategies as st

from ocrwatch.intake.entries import Identity
from ocrwatch.intake.tree import _PART_FILES, DirectoryListing
from ocrwatch.worker import frames

identities = st.builds(Identity, size=st.integers(0, 2**63), mtime_ns=st.integers(-(2**63), 2**63), inode=st.integers(0, 2**64))


@given(identities, st.binary(min_size=1, max_size=255))
def test_listing_survives_json(identity: Identity, name: bytes) -> None:
    """A name of any bytes and any identity come out of a frame as they went in."""
    listing = DirectoryListing("a", ((os.fsdecode(name), *identity),), ("b",), (("c", "why"),), more=True)
    assert DirectoryListing.from_json(json.loads(json.dumps(listing.to_json()))) == listing
    assert DirectoryListing.from_json(listing.to_json()) == listing


def test_largest_part_of_a_listing_fits_into_a_frame() -> None:
    """A folder of any size on a share reaches the parent, with names of 255 bytes none of which is UTF-8."""
    rows = tuple((os.fsdecode(b"\xff" * 255), 2**62, 2**62, 2**64) for _ in range(_PART_FILES))
    assert frames.encode({"progress": {"listing": DirectoryListing("a", rows, more=True).to_json()}})


def test_identity_matches_only_the_same_version() -> None:
    """Size, time and inode tell versions apart; an inode that is not known does not."""
    identity = Identity(size=10, mtime_ns=5, inode=7)
    assert identity.matches(Identity(size=10, mtime_ns=5, inode=7))
    assert identity.matches(Identity(size=10, mtime_ns=5))
    assert identity.without_inode().matches(Identity(size=10, mtime_ns=5, inode=8))
    assert not identity.matches(Identity(size=10, mtime_ns=5, inode=8))
    assert not identity.matches(Identity(size=11, mtime_ns=5, inode=7))
    assert not identity.matches(Identity(size=10, mtime_ns=6, inode=7))
