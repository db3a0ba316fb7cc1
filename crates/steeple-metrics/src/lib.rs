//! Request metrics for Prometheus: counters, latency histograms and in-flight gauges, exact under cancellation.
