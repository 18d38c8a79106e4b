//! To be written.
#![forbid(unsafe_code)]
mod message;
mod refused;
pub use message::*;
pub use refused::{RefusalCode, Refused};
