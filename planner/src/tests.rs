//! What must hold for every sequence of requests, and every refusal.

mod invariants;
mod oracle;
mod plans;
mod recovery;
mod refusals;
mod rights;
