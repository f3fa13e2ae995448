//! Layers on a real file system.
