//! The locks that [`turn`](crate::turn) is built of: loom's take their place in the test that runs it
//! in every order.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
