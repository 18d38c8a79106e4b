//! What must hold for every sequence of requests, and every refusal.

mod deadlines;
mod failures;
mod forms;
mod invariants;
mod leases;
mod loading;
mod mends;
mod numbers;
mod obsolete;
mod oracle;
mod plans;
mod policy;
mod quotas;
mod reclaims;
mod recovery;
mod refusals;
mod rights;
mod take_up;
mod undo;
mod verbs;
