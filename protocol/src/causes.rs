//! An error with its causes, for people.

use std::error::Error;

/// An error with its causes, in one line. A cause that its error has repeated already, as those of
/// some libraries do, is not said twice.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::with_causes;

    #[derive(Debug, thiserror::Error)]
    #[error("no file")]
    struct Cause;

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error("settings")]
        Silent(#[source] Cause),
        #[error("settings: {0}")]
        Repeating(#[source] Cause),
    }

    #[test]
    fn each_cause_is_said_once() {
        assert_eq!(with_causes(&Failed::Silent(Cause)), "settings: no file");
        assert_eq!(with_causes(&Failed::Repeating(Cause)), "settings: no file");
    }
}
