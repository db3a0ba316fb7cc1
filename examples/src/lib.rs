//! What the examples share: the parts of [`taskboard`], which tests run in process as well.

pub mod taskboard;
