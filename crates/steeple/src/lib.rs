//! One layer for request logs, metrics, traces and errors on Axum, Tonic and plain tower services.
