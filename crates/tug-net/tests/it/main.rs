//! Networks on a real kernel. Every test plays in namespaces of its own: a "host", which is a
//! thread that has left the real one, an "outside" beyond its uplink, and containers.

mod bridge;
mod cost;
mod kernel;
mod ports;
mod traffic;
mod world;
