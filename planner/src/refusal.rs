//! Every "no", with the fact that caused it.





/// Why a change is turned down. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// See the message.
    #[error("placeholder {0:?}")]
    Placeholder(String),
}
