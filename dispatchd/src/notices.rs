//! What the operator is told, in the log.

use controller::{Act, Notice};
use planner::State;

use crate::control::Trouble;
use crate::unreadable;

/// Writes a notice to the log.
pub(crate) fn tell(notice: &Notice<Trouble>, state: &State) {
    match notice {
        Notice::Continued(id) => {
            let Some(chain) = state.chains.get(id) else {
                return;
            };
            tracing::info!(
                interface = %chain.interface.name,
                generation = chain.revision.0,
                members = chain.members.len(),
                "continuing a chain",
            );
        }
        Notice::ClientGone {
            interface,
            member,
            linger_ms,
        } => tracing::info!(%interface, %member, linger_ms, "the member's client is gone"),
        Notice::ClientBack {
            interface,
            member,
            uid,
        } => tracing::info!(%interface, %member, uid, "the member's client is back"),
        Notice::Expired { interface, members } => {
            tracing::info!(%interface, members, "removing members whose clients did not come back");
        }
        Notice::SocketsExpired { site, queues } => {
            tracing::info!(chain = %site, ?queues, "sockets' clients did not come back");
        }
        Notice::Detached { interface } => {
            tracing::warn!(%interface, "somebody detached the chain from its interface; attaching it again");
        }
        Notice::Taken { interface, program } => {
            let program_id = program.id;
            let program = protocol::escape(&program.name);
            tracing::error!(%interface, %program, program_id, "the chain is not on its interface: somebody else's program is");
        }
        Notice::NotSeen { interface, error } => {
            tracing::error!(%interface, %error, "whether the interface runs its chain can't be told");
        }
        Notice::Mended { dir, step } => {
            let what = unreadable::mend(step);
            tracing::warn!(chain = %dir, %what, "mended a chain's pins");
        }
        Notice::NotAttached { interface, error } => {
            tracing::error!(%interface, %error, "the chain is not on its interface");
        }
        Notice::Attached { interface } => {
            tracing::info!(%interface, "the chain is on its interface again");
        }
        Notice::InterfaceGone { interface } => {
            tracing::warn!(%interface, "the interface is gone, and its chain with it");
        }
        Notice::SocketActive {
            interface,
            queue,
            uid,
        } => tracing::info!(%interface, queue, uid, "the queue's packets go to a socket"),
        Notice::SocketBack {
            interface,
            queue,
            uid,
        } => tracing::info!(%interface, queue, uid, "the socket's client is back"),
        Notice::RedirectGone { interface } => {
            tracing::info!(%interface, "the last socket is gone, and the redirect program with it");
        }
        Notice::RunsOn { interface, members } => {
            tracing::info!(%interface, members, "the chain keeps running without the daemon");
        }
        Notice::Removed { interface } => {
            tracing::info!(%interface, "took the chain off its interface");
        }
        Notice::Refused { site, act, refusal } => {
            tracing::error!(chain = %site, error = %refusal, "{}", failed(*act));
        }
        Notice::Failed { site, act, error } => {
            tracing::warn!(chain = %site, %error, "{}", failed(*act));
        }
    }
}

fn failed(act: Act) -> &'static str {
    match act {
        Act::Free => "what a change left could not be freed; tried again",
        Act::Expire => "a lingering member could not be removed; tried again",
        Act::DropRedirect => "the redirect program could not be removed; tried again",
        Act::RemoveChain => "the chain could not be removed",
        Act::Give => "a socket could not be put into its map again",
        Act::Take => "a socket could not be taken out of its map",
    }
}
