//! One log line per exchange, and the request's ids on every line that its handler logs.
