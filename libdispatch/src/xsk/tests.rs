//! The data path over plain memory, with a model of the kernel on the other side.

mod cursors;
mod fuzzed;
mod hostile;
mod metadata;
mod model;
mod path;
mod threads;
