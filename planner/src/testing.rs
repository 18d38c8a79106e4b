//! Sequences of requests, for tests here, in the daemon and under a fuzzer.
//!
//! They are drawn from small pools, so that requests meet: few names, two interfaces, clients of
//! every kind of rights. Many are refused, and none is impossible on the wire.

mod aim;
mod strategies;

use dispatcher_abi::{Engine, EngineChoice, Lifetime, OnMiss};

pub use aim::aim_at;
pub use strategies::{request, requests};

use crate::{
    Abilities, AttachType, Authority, ChainKey, Change, Client, ConnectionId, Engines, Facts, Form,
    Interface, Level, LoadId, MemberId, MemberState, Moment, ObjectSource, Operation, Outline,
    Plan, Policy, Refusal, Registration, Reload, SocketLimits, Source, State, decide, expire,
    needs,
};

/// An engine probe that found everything.
pub const ENGINES: Engines = Engines {
    freplace: true,
    tailcall: true,
};

/// Something that happens to the daemon.
#[derive(Clone, Debug)]
pub enum Request {
    /// A client asks for a change, and its objects were loaded.
    Change {
        /// Who asks.
        client: Authority,
        /// The change.
        change: Change,
        /// What the loader learned.
        facts: Vec<Facts>,
    },
    /// A connection ends.
    Gone(ConnectionId),
    /// The linger time of every member that lingers in this chain is over.
    Expire(ChainKey),
    /// A client wants its member back.
    Reclaim {
        /// Who asks.
        client: Authority,
        /// In which chain.
        chain: ChainKey,
        /// Which member.
        name: String,
        /// With which token.
        token: [u8; 16],
    },
}

impl Request {
    /// Plays the request to a state. A plan is not committed yet: it has to be carried out first.
    pub fn play(&self, state: &mut State) -> Result<Option<Plan>, Refusal> {
        match self {
            Self::Change {
                client,
                change,
                facts,
            } => decided(state, client, change, facts).map(Some),
            Self::Gone(connection) => {
                gone(state, *connection, Moment(0));
                Ok(None)
            }
            Self::Expire(chain) => {
                let Some(found) = state.at(*chain) else {
                    return Ok(None);
                };
                let members = found.members.iter();
                let lingering = members.filter(|m| m.state != MemberState::Running);
                let ids: Vec<_> = lingering.map(|member| member.id).collect();
                Ok(expire(state, found.id, &ids))
            }
            Self::Reclaim {
                client,
                chain,
                name,
                token,
            } => {
                let found = state.at(*chain).and_then(|chain| chain.member(name));
                let member = found.map_or(MemberId(u64::MAX), |(_, member)| member.id);
                state.reclaim(client, *chain, member, token).map(|()| None)
            }
        }
    }
}

/// A connection is gone, wherever it had members: those that linger.
pub fn gone(state: &mut State, connection: ConnectionId, now: Moment) -> Vec<MemberId> {
    let chains = state.chains.values();
    let sites: Vec<_> = chains.map(|chain| chain.interface.key).collect();
    let lingering = sites
        .into_iter()
        .flat_map(|site| state.connection_gone(site, connection, now));
    lingering.collect()
}

/// Root registers this many plain members, `m0` first, on the first interface.
pub fn fill(members: usize) -> Request {
    let registrations = (0..members).map(|index| {
        Operation::Register(Registration {
            name: Some(format!("m{index}")),
            ..registration()
        })
    });
    Request::Change {
        client: root(),
        change: change(registrations.collect()),
        facts: vec![facts(); members],
    }
}

/// Decides a change as a daemon does whose loader loads everything that is needed.
pub fn decided(
    state: &State,
    client: &Authority,
    change: &Change,
    facts: &[Facts],
) -> Result<Plan, Refusal> {
    let outlines: Vec<_> = facts.iter().map(outline).collect();
    let needs = needs(state, client, change, &outlines, true)?;
    let mut facts = facts.to_vec();
    for (facts, form) in facts.iter_mut().zip(&needs.forms) {
        facts.form = *form;
    }
    let reloaded: Vec<_> = needs.reloads.iter().map(reloaded).collect();
    decide(state, client, change, &facts, &reloaded)
}

/// What was known of a program before it was loaded.
pub fn outline(facts: &Facts) -> Outline {
    Outline {
        program: facts.source.program().to_owned(),
        abilities: facts.abilities,
    }
}

/// What the loader learns by loading a member's code again. Each such load has a number of its own.
pub fn reloaded(reload: &Reload) -> Facts {
    let load = reload.member.0 * 100 + u64::from(reload.code.0);
    Facts {
        load: LoadId(1_000_000 + load),
        program_id: 50_000 + u32::try_from(load).unwrap_or(u32::MAX / 2),
        source: reload.source.clone(),
        abilities: reload.outline.abilities,
        form: reload.form,
        replaces: Some((reload.member, reload.code)),
        ..facts()
    }
}

/// A change of the first interface.
pub fn change(operations: Vec<Operation>) -> Change {
    Change {
        interface: interface(0),
        expected_revision: None,
        expected_members: Vec::new(),
        mode: None,
        operations,
    }
}

/// An interface: `eth0`, `eth1`, ...
pub fn interface(number: u32) -> Interface {
    Interface {
        key: ChainKey {
            netns: 1,
            ifindex: 2 + number,
        },
        name: format!("eth{number}"),
        netns_name: None,
    }
}

/// A registration that leaves everything to the defaults; kept.
pub fn registration() -> Registration {
    Registration {
        name: None,
        built_in: None,
        priority: None,
        chain_call: None,
        allowed: None,
        on_miss: OnMiss::Abort,
        lifetime: Lifetime::Kept,
        linger_ms: 0,
        engine: EngineChoice::Auto,
        tail_depth: None,
        share_group: None,
        token: [0; 16],
    }
}

/// Facts of an object without any wishes.
pub fn facts() -> Facts {
    Facts {
        load: LoadId(1),
        program_id: 1001,
        source: Source::Object(ObjectSource {
            sha256: [1; 32],
            program: "xdp_program".into(),
            ..ObjectSource::default()
        }),
        abilities: Abilities::ALL,
        form: Form {
            engine: Engine::Freplace,
            frags: true,
            attach: AttachType::Xdp,
        },
        has_program_array: false,
        priority: None,
        chain_call: None,
        replaces: None,
    }
}

/// A client of uid 0.
pub fn root() -> Authority {
    client(0, 1)
}

/// A client: uid 0 is root, 1000 and 1001 may load, 1002 may use the redirect program, others have
/// no rights.
pub fn client(uid: u32, connection: u64) -> Authority {
    limited(uid, connection, SocketLimits::default())
}

/// The same, with these limits of sockets for all but root.
pub fn limited(uid: u32, connection: u64, sockets: SocketLimits) -> Authority {
    let client = Client {
        uid,
        pid: 100 + uid,
        name: format!("client-{uid}"),
        connection: ConnectionId(connection),
    };
    policy(sockets).authority(&client, &interface(0))
}

/// What decides what the clients of these tests may do.
pub fn policy(sockets: SocketLimits) -> Policy {
    let levels = [
        (1000, Level::Load),
        (1001, Level::Load),
        (1002, Level::Redirect),
    ];
    Policy {
        levels: levels.into(),
        sockets,
        ..Policy::default()
    }
}
