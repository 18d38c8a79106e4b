//! The member that filters: its registration, and its maps as the rules want them.

use firewall_abi::{
    Outcome, PROGRAM, SERVICES_MAP, SERVICES_MAX, SOURCES_MAX, SOURCES4_MAP, SOURCES6_MAP,
};
use libdispatch::{Client, Program, Registration};
use shell::Failure;

use crate::args::Args;
use crate::maps::Maps;
use crate::rules::Policy;
use crate::tables::{Size, Tables};

/// The program, as `cargo xtask ebpf` built it.
static OBJECT: &[u8] = include_bytes!(env!("EBPF_OBJECT"));

/// The registered program. Dropping it unregisters it.
pub(crate) struct Filter {
    registration: Registration,
    maps: Maps,
    tables: Tables,
    policy: Policy,
    /// What there is room for.
    size: Size,
}

/// What a new policy changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) added: usize,
    pub(crate) removed: usize,
    pub(crate) default_changed: bool,
}

impl Filter {
    /// Registers the program and loads the rules.
    pub(crate) fn register(args: &Args, policy: Policy) -> Result<Self, Failure> {
        let mut client = Client::builder().name(PROGRAM);
        if let Some(socket) = &args.socket {
            client = client.socket(socket);
        }
        let client = client.connect().map_err(Failure::on(&args.interface))?;
        let steps = Tables::default().plan(&policy);
        let size = roomy(Tables::default().size_with(&steps));
        let program = Program::from_bytes(OBJECT)
            .program(PROGRAM)
            .name(PROGRAM)
            .priority(args.priority)
            .map_size(SOURCES4_MAP, entries(size.sources))
            .map_size(SOURCES6_MAP, entries(size.sources))
            .map_size(SERVICES_MAP, entries(size.services));
        let registration = client
            .register(&args.interface, &program)
            .map_err(Failure::on(&args.interface))?;
        let mut filter = Self {
            maps: Maps::of(&registration)?,
            registration,
            tables: Tables::default(),
            policy: Policy::default(),
            size,
        };
        filter.load(&policy)?;
        filter.policy = policy;
        Ok(filter)
    }

    /// Goes over to another policy while packets flow. If that fails, the one of before is in
    /// force.
    pub(crate) fn adopt(&mut self, policy: Policy) -> Result<Difference, Failure> {
        if let Err(failure) = self.load(&policy) {
            let before = self.policy.clone();
            self.load(&before)?;
            return Err(failure);
        }
        let before = std::mem::replace(&mut self.policy, policy);
        Ok(Difference {
            added: self.policy.rules_not_in(&before),
            removed: before.rules_not_in(&self.policy),
            default_changed: before.default != self.policy.default,
        })
    }

    /// What is in force.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn slot(&self) -> u16 {
        self.registration.slot()
    }

    /// Fails if the program is no longer in the chain. That the daemon isn't there doesn't matter:
    /// the chain runs without it.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let interface = self.registration.interface();
        match self.registration.detail() {
            Ok(detail) if detail.member.id == self.registration.id() => Ok(()),
            Err(error) if !shell::means_unregistered(&error) => Ok(()),
            Err(error @ libdispatch::Error::Lost { .. }) => Err(Failure::on(interface)(error)),
            Ok(_) | Err(_) => Err(Failure::Unregistered {
                interface: interface.to_owned(),
                name: self.registration.name().to_owned(),
            }),
        }
    }

    /// Stops filtering; says what became of packets until then.
    pub(crate) fn unregister(self) -> Result<[(Outcome, u64); Outcome::ALL.len()], Failure> {
        let interface = self.registration.interface().to_owned();
        let unregistered = self.registration.unregister();
        unregistered.map_err(Failure::on(&interface))?;
        self.maps.outcomes()
    }

    /// Does what leads from the maps' contents to a policy, as far as it goes.
    fn load(&mut self, policy: &Policy) -> Result<(), Failure> {
        let steps = self.tables.plan(policy);
        let needed = self.tables.size_with(&steps);
        for (map, needed, room) in [
            (SOURCES4_MAP, needed.sources, self.size.sources),
            (SERVICES_MAP, needed.services, self.size.services),
        ] {
            if needed > room {
                let problem = format!("no room for {needed} entries, only for {room}: start again");
                return Err(Failure::map(map)(problem));
            }
        }
        for mut step in steps {
            if let Err(stopped) = self.maps.perform(&step) {
                step.truncate(stopped.done);
                self.tables.apply(&step);
                return Err(stopped.failure);
            }
            self.tables.apply(&step);
        }
        Ok(())
    }
}

/// Room for twice as many and at least as many as the object says: rules can be added while the
/// old ones are still there. Entries take memory only when they are there.
fn roomy(needed: Size) -> Size {
    Size {
        sources: (2 * needed.sources).max(SOURCES_MAX),
        services: (2 * needed.services).max(SERVICES_MAX),
    }
}

/// A map's size. The daemon refuses what is too much.
fn entries(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
