//! Finds and removes secrets from headers, URLs, JSON and free text. Knows no tower.
