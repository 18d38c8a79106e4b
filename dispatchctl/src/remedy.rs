//! What would mend a refusal, in words of the command lines.

use libdispatch::Remedy;

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what no command is about has the library's own words"
)]
pub(crate) fn text(remedy: &Remedy) -> String {
    match remedy {
        Remedy::AllowUser => "`dispatchd --allow-uid UID` lets a user in".to_owned(),
        Remedy::AllowLoad { uid } => {
            format!("`dispatchd --allow-uid {uid}:load` lets it load its own objects")
        }
        Remedy::AllowBare { uid } => format!("`dispatchd --allow-bare {uid}` allows it"),
        Remedy::MoreSockets => "see `dispatchd --max-sockets`".to_owned(),
        Remedy::MoreMemory => "see `dispatchd --max-umem`".to_owned(),
        Remedy::ChangeMode { interface, mode } => {
            format!("`dispatchctl config {interface} --mode {mode}` changes that")
        }
        Remedy::SeeStatus => "`dispatchctl status` says why".to_owned(),
        Remedy::GiveMapSize { map } => format!("give a size with `--map-size {map}=N`"),
        Remedy::Flush { interface } => format!(
            "to take it off the interface, stop dispatchd and run `dispatchd --flush {interface}` in \
             the interface's network namespace"
        ),
        other => other.to_string(),
    }
}
