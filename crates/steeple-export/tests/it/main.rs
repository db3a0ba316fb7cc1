//! Pipelines against real receivers on loopback.

mod first;
mod network;
