//! What must hold for every sequence of requests, and every refusal.

mod claims;
mod forms;
mod invariants;
mod oracle;
mod plans;
mod quotas;
mod recovery;
mod refusals;
mod rights;
