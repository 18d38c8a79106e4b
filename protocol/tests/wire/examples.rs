//! An example of everything that can be said.

mod replies;
mod requests;
mod told;

pub(crate) use replies::*;
pub(crate) use requests::*;
pub(crate) use told::*;
