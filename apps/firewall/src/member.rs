//! The member that filters: its registration, its maps, and the changes of its rules.

use std::os::fd::AsFd as _;

use firewall_abi::{
    BUCKETS_MAP, CONFIG_MAP, DEFAULT_ID, HITS_MAP, IDS_FIRST, IDS_MAX, KEYS_MAP, LENGTHS4_MAP,
    LENGTHS6_MAP, PROGRAM, Room, UNREADABLE_ID,
};
use libdispatch::{Client, Program, Registration};
use rustix::thread::{MembarrierCommand, membarrier};
use shell::Failure;

use crate::args::RunArgs;
use crate::hits::Hits;
use crate::listing::{Decided, Listing};
use crate::memory::{Descriptors, Memory};
use crate::rules::{Policy, Rule};
use crate::table::{Change, Difference, NoRoom, Table};

/// The program, as `cargo xtask ebpf` built it.
static OBJECT: &[u8] = include_bytes!(env!("EBPF_OBJECT"));

/// The registered program. Dropping it unregisters it.
pub(crate) struct Filter {
    registration: Registration,
    table: Table,
    hits: Hits,
}

impl Filter {
    /// Registers the program and loads the rules.
    pub(crate) fn register(args: &RunArgs, policy: &Policy) -> Result<Self, Failure> {
        let mut client = Client::builder().name(PROGRAM);
        if let Some(socket) = &args.socket {
            client = client.socket(socket);
        }
        let client = client.connect().map_err(Failure::on(&args.interface))?;
        let room = room(args.room, policy);
        let program = Program::from_bytes(OBJECT)
            .program(PROGRAM)
            .name(PROGRAM)
            .priority(args.priority)
            .map_size(BUCKETS_MAP, 2 * room.half())
            .map_size(KEYS_MAP, room.entries)
            .map_size(HITS_MAP, room.hits());
        let registration = client
            .register(&args.interface, &program)
            .map_err(Failure::on(&args.interface))?;
        let mut filter = Self {
            table: Table::new(memory(&registration, room)?, wait),
            hits: Hits::of(&registration, room)?,
            registration,
        };
        filter.adopt(policy)?;
        Ok(filter)
    }

    /// Goes over to another policy while packets flow. If that fails, the one of before is in
    /// force.
    pub(crate) fn adopt(&mut self, policy: &Policy) -> Result<Difference, Failure> {
        self.retrying(|table| table.adopt(policy))
    }

    /// Changes one rule while packets flow. Says whether that changed anything.
    pub(crate) fn change(&mut self, change: Change) -> Result<bool, Failure> {
        self.retrying(|table| table.change(change))
    }

    /// What is in force.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// What is in force, and how many packets each rule decided.
    pub(crate) fn listing(&self) -> Result<Listing, Failure> {
        listing(&self.table, &self.hits)
    }

    /// What can wait until nobody wants anything: makes room for the next changes.
    pub(crate) fn tidy(&mut self) -> Result<(), Failure> {
        const RESTING_MAX: usize = 4096;
        if self.table.is_stale() {
            let rebuilt = self.table.rebuild();
            rebuilt.map_err(Failure::map(BUCKETS_MAP))?;
        }
        if self.table.ids_resting() > RESTING_MAX {
            self.recycle()?;
        }
        Ok(())
    }

    pub(crate) fn slot(&self) -> u16 {
        self.registration.slot()
    }

    /// Fails if the program is no longer in the chain. That the daemon isn't there doesn't matter:
    /// the chain runs without it.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let interface = self.registration.interface();
        match self.registration.detail() {
            Ok(_) => Ok(()),
            Err(error) if !shell::means_unregistered(&error) => Ok(()),
            Err(error @ libdispatch::Error::Lost { .. }) => Err(Failure::on(interface)(error)),
            Err(_) => Err(Failure::Unregistered {
                interface: interface.to_owned(),
                name: self.registration.name().to_owned(),
            }),
        }
    }

    /// Stops filtering; says what became of packets until then.
    pub(crate) fn unregister(self) -> Result<Listing, Failure> {
        let Self {
            registration,
            table,
            hits,
        } = self;
        let interface = registration.interface().to_owned();
        registration.unregister().map_err(Failure::on(&interface))?;
        listing(&table, &hits)
    }

    /// Does it; if there is no room because of rules that are gone, once more without those.
    fn retrying<T>(
        &mut self,
        change: impl Fn(&mut Table) -> Result<T, NoRoom>,
    ) -> Result<T, Failure> {
        match change(&mut self.table) {
            Err(_) if self.table.ids_resting() > 0 => {
                self.recycle()?;
                change(&mut self.table).map_err(Failure::map(KEYS_MAP))
            }
            done => done.map_err(Failure::map(KEYS_MAP)),
        }
    }

    fn recycle(&mut self) -> Result<(), Failure> {
        let ids = self.table.take_rested_ids();
        self.hits.forget(&ids)?;
        self.table.free_ids(ids);
        Ok(())
    }
}

fn listing(table: &Table, hits: &Hits) -> Result<Listing, Failure> {
    let counted = hits.count()?;
    let rules = table.rules().iter();
    let rules = rules.map(|(subject, placed)| Decided {
        rule: Rule(*subject, placed.action),
        hits: counted.of(placed.ids(subject)),
    });
    Ok(Listing {
        rules: rules.collect(),
        default: table.default(),
        default_hits: counted.of([DEFAULT_ID]),
        unreadable_hits: counted.of([UNREADABLE_ID]),
        packets: hits.outcomes()?,
    })
}

/// Room for twice as many as there are, and for so many at least: old rules keep theirs until
/// packets on their way are through.
fn room(asked: u32, policy: &Policy) -> Room {
    let needed = u32::try_from(2 * policy.entries()).unwrap_or(u32::MAX);
    Room {
        entries: asked.max(needed.saturating_add(IDS_FIRST)).min(IDS_MAX),
    }
}

/// The maps that rules are in. The program has them as long as it is loaded, so that nothing is
/// copied.
fn memory(registration: &Registration, room: Room) -> Result<Memory, Failure> {
    let map = |name| {
        let map = registration.map(name);
        map.map_err(Failure::on(registration.interface()))
    };
    let [config, buckets, keys, lengths4, lengths6] = [
        map(CONFIG_MAP)?,
        map(BUCKETS_MAP)?,
        map(KEYS_MAP)?,
        map(LENGTHS4_MAP)?,
        map(LENGTHS6_MAP)?,
    ];
    let descriptors = Descriptors {
        config: config.as_fd(),
        buckets: buckets.as_fd(),
        keys: keys.as_fd(),
        lengths4: lengths4.as_fd(),
        lengths6: lengths6.as_fd(),
    };
    Memory::map(descriptors, room).map_err(Failure::map(BUCKETS_MAP))
}

/// Until packets that are being judged now are through. Hosts with `nohz_full` refuse to say; on
/// those it's a time that no packet needs.
fn wait() {
    const LONG_ENOUGH: std::time::Duration = std::time::Duration::from_millis(50);
    if membarrier(MembarrierCommand::Global).is_err() {
        std::thread::sleep(LONG_ENOUGH);
    }
}
