//! Walking the blocks of a tar stream.
